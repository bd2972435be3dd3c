use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::{
    engine::plan::{
        container_config::container_config,
        dependencies::dependencies,
        sample::{intent_of, rules},
    },
    task::desired::{Condition, Dependency},
};

fn intent(firelens: Value, options: Value) -> Intent {
    let containers = json!([
        { "name": "app", "image": "web:1",
          "logConfiguration": { "logDriver": "awsfirelens", "options": options } },
        { "name": "router", "image": "bit:1", "firelensConfiguration": firelens },
    ]);
    (*intent_of(serde_json::from_value(containers).unwrap())).clone()
}

fn check(firelens: Value, options: Value, expected: Expect) {
    let intent = intent(firelens, options);
    let router = &intent.definition.spec.container_definitions[1];
    let firelens = router.firelens_configuration.as_ref().unwrap();
    expected.assert_eq(&configuration(&intent, firelens).unwrap());
}

#[test]
fn fluent_bit_is_told_where_lines_come_from_and_where_they_go() {
    check(
        json!({ "type": "fluentbit" }),
        json!({ "Name": "http", "Host": "logs.internal", "exclude-pattern": "^debug", "log-driver-buffer-limit": "1048576" }),
        expect![[r#"
            [INPUT]
                Name forward
                unix_path /var/run/fluent.sock

            [INPUT]
                Name forward
                Listen 0.0.0.0
                Port 24224

            [INPUT]
                Name tcp
                Tag firelens-healthcheck
                Listen 127.0.0.1
                Port 8877

            [FILTER]
                Name grep
                Match app-firelens*
                Exclude log ^debug

            [FILTER]
                Name record_modifier
                Match *
                Record ecs_cluster default
                Record ecs_task_arn arn:aws:ecs:us-east-1:000000000000:task/default/7a5c
                Record ecs_task_definition web:3

            [OUTPUT]
                Name null
                Match firelens-healthcheck

            [OUTPUT]
                Host logs.internal
                Name http
                Match app-firelens*

        "#]],
    );
}

#[test]
fn configuration_includes_the_users_own_and_may_omit_metadata() {
    check(
        json!({ "type": "fluentbit", "options": {
            "enable-ecs-log-metadata": "false", "config-file-type": "file",
            "config-file-value": "/extra.conf" } }),
        json!({}),
        expect![[r#"
            [INPUT]
                Name forward
                unix_path /var/run/fluent.sock

            [INPUT]
                Name forward
                Listen 0.0.0.0
                Port 24224

            [INPUT]
                Name tcp
                Tag firelens-healthcheck
                Listen 127.0.0.1
                Port 8877

            @INCLUDE /extra.conf

            [OUTPUT]
                Name null
                Match firelens-healthcheck

        "#]],
    );
}

#[test]
fn fluentd_is_told_the_same_in_its_own_words() {
    check(
        json!({ "type": "fluentd", "options": {
            "config-file-type": "s3", "config-file-value": "arn:aws:s3:::conf/extra.conf" } }),
        json!({ "@type": "stdout", "include-pattern": "^E" }),
        expect![[r#"
            <source>
              @type unix
              path /var/run/fluent.sock
            </source>

            <source>
              @type forward
              bind 0.0.0.0
              port 24224
            </source>

            <source>
              @type tcp
              tag firelens-healthcheck
              bind 127.0.0.1
              port 8877
              <parse> 
                @type none
              </parse>
            </source>

            <filter app-firelens**>
              @type grep
              <regexp> 
                key log
                pattern ^E
              </regexp>
            </filter>

            <filter **>
              @type record_transformer
              <record> 
                ecs_cluster default
                ecs_task_arn arn:aws:ecs:us-east-1:000000000000:task/default/7a5c
                ecs_task_definition web:3
              </record>
            </filter>

            @include /fluentd/etc/external.conf

            <match firelens-healthcheck**>
              @type null
            </match>

            <match app-firelens**>
              @type stdout
            </match>

        "#]],
    );
}

#[test]
fn the_routed_container_logs_into_the_socket_that_the_router_mounts() {
    let options = json!({ "Name": "stdout", "log-driver-buffer-limit": "1048576" });
    let intent = intent(json!({ "type": "fluentbit" }), options);
    let spec = &intent.definition.spec;
    let [app, router] = [0, 1].map(|index| container_config(&intent, index, &rules()).unwrap());
    let log = app.log.unwrap();
    let socket = log.options["fluentd-address"].strip_prefix("unix://").unwrap().to_owned();
    let run = router.binds.iter().find(|bind| bind.target == "/var/run").unwrap();
    assert_eq!(socket, format!("{}/fluent.sock", run.source));
    assert_eq!((log.driver.as_str(), log.options["fluentd-async"].as_str()), ("fluentd", "true"));
    assert_eq!(log.options["fluentd-buffer-limit"], "1048576");
    let host = ("FLUENT_HOST".to_owned(), "router".to_owned());
    assert!(app.environment_defaults.contains(&host) && app.links.len() == 1);
    let depends_on = dependencies(spec, &spec.container_definitions[0]);
    let condition = Condition::Start;
    assert_eq!(depends_on, [Dependency { on: 1, condition }]);
    assert_eq!(dependencies(spec, &spec.container_definitions[1]), []);
}

#[test]
fn only_networks_of_the_task_have_an_input_besides_the_socket() {
    let text = |mode: &str, kind: &str| {
        let mut intent = intent(json!({ "type": kind }), json!({ "Name": "stdout" }));
        let mut definition = (*intent.definition).clone();
        definition.spec.network_mode = serde_json::from_value(json!(mode)).unwrap();
        intent.definition = definition.into();
        let spec = &intent.definition.spec;
        let router = &spec.container_definitions[1];
        let firelens = router.firelens_configuration.as_ref().unwrap();
        let told = environment(spec, &spec.container_definitions[0]).is_some();
        (configuration(&intent, firelens).unwrap(), told)
    };
    let modes = [
        ("bridge", Some("0.0.0.0")),
        ("awsvpc", Some("127.0.0.1")),
        ("host", None),
        ("none", None),
    ];
    for (mode, listens) in modes {
        for kind in ["fluentbit", "fluentd"] {
            let (text, told) = text(mode, kind);
            assert_eq!((text.contains("24224"), told), (listens.is_some(), listens.is_some()));
            assert_eq!(text.contains("8877"), listens.is_some(), "{mode} {kind}: {text}");
            assert!(listens.is_none_or(|address| text.contains(address)), "{mode}: {text}");
        }
    }
}

#[test]
fn a_router_of_any_user_can_make_its_socket() {
    let intent = intent(json!({ "type": "fluentbit" }), json!({ "Name": "stdout" }));
    let mut found = Needs::default();
    needs(&intent, &intent.definition.spec.container_definitions[1], &rules(), &mut found).unwrap();
    let modes: Vec<(bool, u32)> =
        found.directories.iter().map(|d| (d.path.ends_with("run"), d.mode)).collect();
    assert_eq!(modes, [(false, 0o755), (true, 0o777)]);
}
