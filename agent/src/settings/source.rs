//! Where settings come from: flags, environment, file. Each source becomes named values as they were
//! written; what they mean is decided in `settings.rs`, once, whatever the source.

use std::{collections::BTreeMap, path::Path};

use super::{
    SettingProblem, SettingProblems, ecs,
    table::{CONFIG, SETTINGS, Setting, VARIABLE_PREFIX, find},
    value::{Environment, SettingOrigin, SettingValues, Value},
};

/// Reads every source. Problems with single values are collected, so that they are said at once.
pub(crate) fn collect(
    flags: &BTreeMap<&'static str, String>,
    environment: &Environment,
    problems: &mut SettingProblems,
    warnings: &mut Vec<String>,
) -> SettingValues {
    let mut values = SettingValues::default();
    for setting in SETTINGS {
        if let Some(default) = setting.default {
            values.put(setting, Value::Text(default.to_owned()), SettingOrigin::Default);
        }
    }
    read_file(flags, environment, &mut values, problems);
    for (name, raw) in ecs::read(environment, problems, warnings) {
        if let Some(setting) = find(name) {
            values.put(setting, raw.value, raw.origin);
        }
    }
    read_variables(environment, &mut values, warnings);
    for (name, text) in flags {
        if let Some(setting) = find(name) {
            values.put(setting, Value::Text(text.clone()), SettingOrigin::Flag((*name).to_owned()));
        }
    }
    values
}

fn read_variables(
    environment: &Environment,
    values: &mut SettingValues,
    warnings: &mut Vec<String>,
) {
    let mut known: BTreeMap<String, &Setting> =
        SETTINGS.iter().map(|setting| (setting.variable(), setting)).collect();
    known.insert(CONFIG.variable(), &CONFIG);
    for (name, text) in environment.range(VARIABLE_PREFIX.to_owned()..) {
        if !name.starts_with(VARIABLE_PREFIX) {
            break;
        }
        match known.get(name) {
            Some(setting) if setting.name == CONFIG.name || text.is_empty() => {}
            Some(setting) => {
                values.put(
                    setting,
                    Value::Text(text.clone()),
                    SettingOrigin::Variable(name.clone()),
                );
            }
            None => warnings.push(format!(
                "{name} is not a setting of the agent and has no effect; `longshore-agent --help` \
                 lists them"
            )),
        }
    }
}

fn read_file(
    flags: &BTreeMap<&'static str, String>,
    environment: &Environment,
    values: &mut SettingValues,
    problems: &mut SettingProblems,
) {
    let variable = CONFIG.variable();
    let named = flags
        .get(CONFIG.name)
        .or_else(|| environment.get(&variable).filter(|path| !path.is_empty()))
        .map(String::as_str);
    let path = named.or(CONFIG.default).unwrap_or_default();
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return,
        Err(error) => {
            problems.push(SettingProblem(format!(
                "the settings file cannot be read: {error}; correct --config or the file"
            )));
            return;
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => read_table(Path::new(path), table, values, problems),
        Err(error) => problems.push(SettingProblem(format!(
            "{path} is not TOML: {}; correct it there",
            error.to_string().trim_end()
        ))),
    }
}

fn read_table(
    path: &Path,
    table: toml::Table,
    values: &mut SettingValues,
    problems: &mut SettingProblems,
) {
    let path = path.display();
    for (key, value) in table {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.key() == key) else {
            let known: Vec<String> = SETTINGS.iter().map(Setting::key).collect();
            problems.push(SettingProblem(format!(
                "`{key}` in {path} is not a setting; the known ones are {}",
                known.join(", ")
            )));
            continue;
        };
        let origin = format!("`{key}` in {path}");
        match from_toml(value) {
            Some(value) => values.put(setting, value, SettingOrigin::File(origin)),
            None => problems.push(SettingProblem(format!(
                "{origin} has a value of a kind that no setting has: give a string, a whole \
                 number, true or false, a list of strings or numbers, or a table of strings"
            ))),
        }
    }
}

fn from_toml(value: toml::Value) -> Option<Value> {
    match value {
        toml::Value::Array(items) => {
            items.into_iter().map(scalar).collect::<Option<Vec<_>>>().map(Value::List)
        }
        toml::Value::Table(table) => table
            .into_iter()
            .map(|(key, value)| Some((key, scalar(value)?)))
            .collect::<Option<Vec<_>>>()
            .map(Value::Map),
        other => scalar(other).map(Value::Text),
    }
}

fn scalar(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}
