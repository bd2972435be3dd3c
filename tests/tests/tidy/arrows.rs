//! Which file takes what from which, read from `use` declarations and paths; the circles in that, and the
//! arrows against the order of layers.
//!
//! An arrow goes to the file that defines a name, through whatever re-exports it; a re-export itself is none.
//! Code of tests has no arrows. What a macro is given is not read.

use std::collections::{BTreeMap, BTreeSet};

use syn::{
    Attribute, Item, ItemMod, Path, UseTree, Visibility,
    visit::{self, Visit},
};

/// Folders of crates, with the names by which other crates know them.
const CRATES: [(&str, &str); 7] = [
    ("common/src", "longshore_common"),
    ("agent/src", "longshore_agent"),
    ("coordinator/core/src", "longshore_core"),
    ("coordinator/src", "longshore_coordinator"),
    ("tests/harness/src", "longshore_harness"),
    ("tests/src", "longshore_tests"),
    ("up/src", "longshore_up"),
];
/// Re-exports that are followed for one name: more is a circle of re-exports.
const REEXPORTS_MAX: usize = 16;

/// A module by its path from the crate's root, which is first: `longshore_core`, `placement`, `filter`.
type Module = Vec<String>;

/// What a file declares and names.
struct File {
    path: String,
    /// What names stand for here, by `use`.
    imports: BTreeMap<String, Vec<String>>,
    /// Every path that its code names.
    named: BTreeSet<Vec<String>>,
    /// Its modules in files of their own, in the order of their `mod` lines.
    below: Vec<String>,
}

/// The files of all crates by their modules.
pub(crate) struct Arrows {
    files: BTreeMap<Module, File>,
}

impl Arrows {
    /// `sources` are paths from the repository's root with their texts.
    pub(crate) fn read<'a>(sources: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let files = sources.filter_map(|(path, text)| {
            let module = module_of(path)?;
            let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let mut reader = Reader::default();
            reader.visit_file(&parsed);
            let Reader { imports, named, below } = reader;
            let file = File { path: path.into(), imports, named, below };
            Some((module, file))
        });
        Arrows { files: files.collect() }
    }

    /// Files that take something from each other, directly or over others: a line for each circle, and one
    /// for each of its arrows.
    pub(crate) fn circles(&self) -> Vec<Vec<String>> {
        let arrows = self.arrows();
        let reached: BTreeMap<&Module, BTreeSet<&Module>> =
            self.files.keys().map(|from| (from, reached_from(from, &arrows))).collect();
        let mut left: BTreeSet<&Module> = self.files.keys().collect();
        let mut circles = Vec::new();
        while let Some(first) = left.pop_first() {
            let back = |other: &&&Module| reached[**other].contains(first);
            let others: Vec<&Module> = reached[first].iter().filter(back).copied().collect();
            let mut circle: BTreeSet<&Module> = others.into_iter().collect();
            circle.insert(first);
            if circle.len() > 1 {
                circles.push(self.told(&circle, &arrows));
            }
            left.retain(|module| !circle.contains(module));
        }
        circles
    }

    /// Arrows against the order of layers. The `mod` lines of each file of `layered` stand in that order,
    /// the lowest layer first: a module takes nothing from one that stands after it.
    pub(crate) fn upward(&self, layered: &[&str]) -> Vec<String> {
        let arrows = self.arrows();
        let mut found = Vec::new();
        for path in layered {
            let layers = self.files.iter().find(|(_, file)| file.path == *path);
            let (parent, layers) = layers.unwrap_or_else(|| panic!("there is no {path}"));
            let place = |module: &Module| {
                let child = module.strip_prefix(&parent[..])?.first()?;
                layers.below.iter().position(|layer| layer == child)
            };
            for (from, taken) in &arrows {
                let upward = |to: &&Module| place(from).zip(place(to)).is_some_and(|(a, b)| a < b);
                for to in taken.keys().filter(upward) {
                    let names: Vec<&str> = taken[to].iter().map(String::as_str).collect();
                    let (from, to) = (&self.files[from].path, &self.files[to].path);
                    found.push(format!("{from} -> {to}: {}", names.join(", ")));
                }
            }
        }
        found
    }

    fn told(&self, circle: &BTreeSet<&Module>, arrows: &ArrowSet) -> Vec<String> {
        let mut lines = Vec::new();
        for from in circle {
            for (to, names) in arrows.get(*from).into_iter().flatten() {
                if circle.contains(to) {
                    let names: Vec<&str> = names.iter().map(String::as_str).collect();
                    let (from, to) = (&self.files[*from].path, &self.files[to].path);
                    lines.push(format!("{from} -> {to}: {}", names.join(", ")));
                }
            }
        }
        lines
    }

    fn arrows(&self) -> ArrowSet {
        let mut arrows = ArrowSet::new();
        for (from, file) in &self.files {
            for path in &file.named {
                if let Some((to, name)) = self.definition(from, path, 0)
                    && to != *from
                {
                    arrows.entry(from.clone()).or_default().entry(to).or_default().insert(name);
                }
            }
        }
        arrows
    }

    /// The module that defines what `path` names in `module`, and the name there. None for a module itself,
    /// and for what is not of these crates.
    fn definition(
        &self,
        module: &Module,
        path: &[String],
        depth: usize,
    ) -> Option<(Module, String)> {
        let (first, mut rest) = path.split_first()?;
        let is_ours = CRATES.iter().any(|(_, name)| first == name);
        let mut at = match first.as_str() {
            "crate" => vec![module[0].clone()],
            "self" => module.clone(),
            "super" => parent(module),
            _ if is_ours => vec![first.clone()],
            _ => {
                rest = path;
                module.clone()
            }
        };
        while let Some((name, after)) = rest.split_first() {
            let child: Module = at.iter().cloned().chain([name.clone()]).collect();
            if name == "super" {
                at = parent(&at);
            } else if self.files.contains_key(&child) {
                at = child;
            } else if let Some(imported) = self.files.get(&at)?.imports.get(name) {
                if depth == REEXPORTS_MAX || imported == path {
                    return None;
                }
                let whole: Vec<String> = imported.iter().chain(after).cloned().collect();
                return self.definition(&at, &whole, depth + 1);
            } else {
                // A name of this file without a path is its own, or the language's.
                let is_local = at == *module && rest.len() == path.len();
                return (!is_local).then(|| (at, name.clone()));
            }
            rest = after;
        }
        None
    }
}

/// Names by the module that takes them and the module that defines them.
type ArrowSet = BTreeMap<Module, BTreeMap<Module, BTreeSet<String>>>;

fn reached_from<'a>(from: &Module, arrows: &'a ArrowSet) -> BTreeSet<&'a Module> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&Module> = arrows.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(module) = next.pop() {
        if reached.insert(module) {
            next.extend(arrows.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

fn parent(module: &Module) -> Module {
    module[..module.len().saturating_sub(1).max(1)].to_vec()
}

/// The module that a file is; none for tests and for programs beside their library.
fn module_of(path: &str) -> Option<Module> {
    let (folder, name) =
        CRATES.iter().find(|(folder, _)| path.starts_with(&format!("{folder}/")))?;
    let inside = path[folder.len() + 1..].strip_suffix(".rs")?;
    let is_test = |part: &str| part == "tests" || part == "test_kit" || part.ends_with("_tests");
    if inside == "main" || inside.starts_with("bin/") || inside.split('/').any(is_test) {
        return None;
    }
    let below = inside.split('/').filter(|part| *part != "lib").map(str::to_owned);
    Some([(*name).to_owned()].into_iter().chain(below).collect())
}

#[derive(Default)]
struct Reader {
    imports: BTreeMap<String, Vec<String>>,
    named: BTreeSet<Vec<String>>,
    below: Vec<String>,
}

impl Reader {
    fn take(&mut self, tree: &UseTree, above: &[String]) {
        let below = |name: &dyn ToString| {
            above.iter().cloned().chain([name.to_string()]).collect::<Vec<String>>()
        };
        match tree {
            UseTree::Path(path) => self.take(&path.tree, &below(&path.ident)),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.take(item, above)),
            UseTree::Name(name) if name.ident == "self" => {
                self.import(above.last().cloned().unwrap_or_default(), above.to_vec());
            }
            UseTree::Name(name) => self.import(name.ident.to_string(), below(&name.ident)),
            UseTree::Rename(rename) => {
                let path = match rename.ident == "self" {
                    true => above.to_vec(),
                    false => below(&rename.ident),
                };
                self.import(rename.rename.to_string(), path);
            }
            UseTree::Glob(_) => {}
        }
    }

    fn import(&mut self, name: String, path: Vec<String>) {
        self.named.insert(path.clone());
        self.imports.insert(name, path);
    }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("test")
            || attribute.path().is_ident("cfg")
                && attribute.parse_args::<Path>().is_ok_and(|cfg| cfg.is_ident("test"))
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Fn(item) => &item.attrs[..],
            Item::Impl(item) => &item.attrs,
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &[],
        };
        if is_of_tests(attributes) {
            return;
        }
        match item {
            Item::Use(item) => {
                let before = self.named.clone();
                self.take(&item.tree, &[]);
                if !matches!(item.vis, Visibility::Inherited) {
                    self.named = before;
                }
            }
            Item::Mod(ItemMod { content: None, ident, .. }) => self.below.push(ident.to_string()),
            item => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.named.insert(path.segments.iter().map(|part| part.ident.to_string()).collect());
        visit::visit_path(self, path);
    }
}
