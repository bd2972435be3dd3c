use expect_test::{Expect, expect};
use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RunThing {
    family: String,
    count: Option<u16>,
    #[serde(default)]
    ports: Vec<Port>,
    #[serde(default)]
    labels: std::collections::BTreeMap<String, String>,
    enabled: Option<bool>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port {
    container_port: u16,
    protocol: Option<Protocol>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    Tcp,
    Udp,
}

fn read(body: &str) -> Result<RunThing, ApiError> {
    parse(body.as_bytes(), ErrorCode::InvalidParameter)
}

fn check(body: &str, expected: Expect) {
    let said = match read(body) {
        Ok(thing) => format!("{thing:?}"),
        Err(refusal) => refusal.to_string(),
    };
    expected.assert_eq(&said);
}

#[test]
fn a_whole_input_is_read() {
    check(
        r#"{"family":"w\u0065b","count":2,"labels":{"a":"b"},
            "ports":[{"containerPort":80,"protocol":"udp"}]}"#,
        expect![[
            r#"RunThing { family: "web", count: Some(2), ports: [Port { container_port: 80, protocol: Some(Udp) }], labels: {"a": "b"}, enabled: None }"#
        ]],
    );
}

#[test]
fn a_null_member_is_an_absent_one() {
    check(
        r#"{"family":"web","ports":null,"labels":{"a":null},"count":null}"#,
        expect![[
            r#"RunThing { family: "web", count: None, ports: [], labels: {}, enabled: None }"#
        ]],
    );
    check(r#"{"family":null}"#, expect!["InvalidParameterException: `family` is required."]);
}

#[test]
fn a_missing_member_is_named_with_its_path() {
    check("{}", expect!["InvalidParameterException: `family` is required."]);
    check(
        r#"{"family":"web","ports":[{"containerPort":1},{}]}"#,
        expect!["InvalidParameterException: `ports[1].containerPort` is required."],
    );
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected() {
    check(
        r#"{"family":1}"#,
        expect!["SerializationException: `family` must be a string, but it is a whole number."],
    );
    check(
        r#"{"family":"web","ports":[{"containerPort":"80"}]}"#,
        expect![
            "SerializationException: `ports[0].containerPort` must be a whole number from 0 to 65535, but it is a string."
        ],
    );
    check(
        r#"{"family":"web","ports":{}}"#,
        expect!["SerializationException: `ports` must be a list, but it is an object."],
    );
    check(
        r#"{"family":"web","ports":[["80"]]}"#,
        expect!["SerializationException: `ports[0]` must be an object, but it is a list."],
    );
    check(
        r#"{"family":"web","ports":[null]}"#,
        expect!["SerializationException: `ports[0]` must be an object, but it is null."],
    );
    check(
        r#"{"family":"web","labels":{"a":1}}"#,
        expect!["SerializationException: `labels.a` must be a string, but it is a whole number."],
    );
    check(
        r#"{"family":"web","count":1.5}"#,
        expect![
            "SerializationException: `count` must be a whole number from 0 to 65535, but it is a number with a fraction."
        ],
    );
    check(
        r#"{"family":"web","enabled":"true"}"#,
        expect!["SerializationException: `enabled` must be a boolean, but it is a string."],
    );
    check(
        r#"{"family":"web","ports":[{"containerPort":1,"protocol":6}]}"#,
        expect![
            "SerializationException: `ports[0].protocol` must be a string, one of tcp, udp, but it is a number."
        ],
    );
}

#[test]
fn a_value_out_of_range_says_the_range_and_an_enum_its_values() {
    check(
        r#"{"family":"web","ports":[{"containerPort":65536}]}"#,
        expect![
            "InvalidParameterException: `ports[0].containerPort` must be a whole number from 0 to 65535, but it is 65536."
        ],
    );
    check(
        r#"{"family":"web","count":-1}"#,
        expect![
            "InvalidParameterException: `count` must be a whole number from 0 to 65535, but it is -1."
        ],
    );
    check(
        r#"{"family":"web","ports":[{"containerPort":1,"protocol":"TCP"}]}"#,
        expect![
            r#"InvalidParameterException: `ports[0].protocol` must be one of tcp, udp, but it is "TCP"."#
        ],
    );
}

#[test]
fn an_unknown_member_is_refused_by_name_with_its_neighbours() {
    check(
        r#"{"family":"web","prots":[1]}"#,
        expect!["InvalidParameterException: `prots` is not a known member. Did you mean `ports`?"],
    );
    check(
        r#"{"family":"web","ports":[{"containerPort":1,"ContainerPort":2}]}"#,
        expect![
            "InvalidParameterException: `ports[0].ContainerPort` is not a known member. Did you mean `containerPort`?"
        ],
    );
    check(
        r#"{"family":"web","zzz":0}"#,
        expect![
            "InvalidParameterException: `zzz` is not a known member. Known members: family, count, ports, labels, enabled."
        ],
    );
}

#[test]
fn an_unknown_member_that_says_nothing_is_no_trouble() {
    for nothing in ["null", "false", "\"\"", "[]", "{}"] {
        let body = format!(r#"{{"family":"web","unheardOf":{nothing}}}"#);
        assert!(read(&body).is_ok(), "{body}");
    }
    for something in ["true", "0", "\" \"", "[null]", "{\"a\":null}"] {
        let body = format!(r#"{{"family":"web","unheardOf":{something}}}"#);
        assert_eq!(read(&body).unwrap_err().code, ErrorCode::InvalidParameter, "{body}");
    }
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    check(
        "",
        expect![
            "SerializationException: The request body is empty; send a JSON object, {} at least."
        ],
    );
    check(
        "[]",
        expect!["SerializationException: The request body must be an object, but it is a list."],
    );
    check(
        r#"{"family":"#,
        expect![
            "SerializationException: The request body is not valid JSON: EOF while parsing a value at line 1 column 10."
        ],
    );
    check(
        r#"{"family":"web"} x"#,
        expect![
            "SerializationException: The request body is not valid JSON: trailing characters at line 1 column 18."
        ],
    );
    for body in [&b"{\"family\":\"\xff\"}"[..], b"{\"family\":\"\\ud800\"}", b"\xef\xbb\xbf{}"] {
        let refused = parse::<RunThing>(body, ErrorCode::InvalidParameter).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Serialization, "{body:?}");
    }
}

#[test]
fn a_member_given_twice_is_refused() {
    check(
        r#"{"family":"web","family":"db"}"#,
        expect![
            "SerializationException: The request body is refused: the member `family` is given twice at line 1 column 30."
        ],
    );
    // The same name, once written with an escape, inside a map of any names.
    check(
        r#"{"family":"web","labels":{"a":"1","\u0061":"2"}}"#,
        expect![
            "SerializationException: The request body is refused: the member `a` is given twice at line 1 column 47."
        ],
    );
}

#[test]
fn nesting_size_and_number_of_values_have_limits() {
    let nested = |levels: usize| {
        // The object itself is one level.
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"unheardOf":{open}{close}}}"#)
    };
    let message = |body: String| read(&body).unwrap_err().message;
    assert!(message(nested(DEPTH_MAX)).contains("unheardOf"));
    assert!(message(nested(DEPTH_MAX + 1)).contains("nests deeper than 64 levels"));
    assert!(message(nested(100_000)).contains("nests deeper than 64 levels"));
    let many = format!(r#"{{"unheardOf":[{}0]}}"#, "0,".repeat(VALUES_MAX));
    assert!(message(many).contains("more than 100000 values"));
    let large = format!(r#"{{"family":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
    assert_eq!(read(&large).unwrap_err().code, ErrorCode::RequestTooLarge);
}

#[test]
fn refusal_shortens_the_clients_text_and_omits_wrong_values() {
    let refused = read(&format!(r#"{{"{}":1}}"#, "é".repeat(5000))).unwrap_err();
    assert!(refused.message.chars().count() < 300, "{}", refused.message);
    let refused = read(r#"{"family":"web","count":"hunter2"}"#).unwrap_err();
    assert!(!refused.message.contains("hunter2"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(body: Vec<u8>) {
        let _ = parse::<RunThing>(&body, ErrorCode::InvalidParameter);
    }

    #[test]
    fn no_json_makes_the_reader_panic(body in r#"[{}\[\],:"\\u0-9a-ftrnl.eE+\- ]{0,80}"#) {
        let _ = parse::<longshore_common::task_definition::TaskSpec>(
            body.as_bytes(),
            ErrorCode::InvalidParameter,
        );
    }
}
