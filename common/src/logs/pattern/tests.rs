//! Patterns as CloudWatch Logs' documentation explains them.

use super::*;

/// Which of the messages a pattern wants.
fn wanted<'m>(pattern: &str, messages: &[&'m str]) -> Vec<&'m str> {
    let pattern = Pattern::parse(pattern).unwrap();
    messages.iter().copied().filter(|message| pattern.matches(message)).collect()
}

fn refusal(pattern: &str) -> String {
    Pattern::parse(pattern).unwrap_err().to_string()
}

const ERRORS: [&str; 4] = [
    "ERROR 400 BAD REQUEST",
    "ERROR 401 UNAUTHORIZED REQUEST",
    "ERROR 419 MISSING ARGUMENTS",
    "WARN 420 INVALID ARGUMENTS",
];

#[test]
fn terms_must_all_be_there_in_any_order() {
    assert_eq!(wanted("", &ERRORS), ERRORS);
    assert_eq!(wanted("  ", &ERRORS), ERRORS);
    assert_eq!(wanted("ERROR ARGUMENTS", &ERRORS), ERRORS[2..3]);
    assert_eq!(wanted("ARGUMENTS  ERROR", &ERRORS), ERRORS[2..3]);
    assert_eq!(wanted("error", &ERRORS), [""; 0]);
}

#[test]
fn one_optional_term_is_enough() {
    assert_eq!(wanted("?BAD ?INVALID", &ERRORS), [ERRORS[0], ERRORS[3]]);
}

#[test]
fn optional_terms_beside_others_are_ignored() {
    assert_eq!(wanted("?BAD ?INVALID ERROR", &ERRORS), ERRORS[..3]);
}

#[test]
fn excluded_terms_may_not_be_there() {
    assert_eq!(wanted("ERROR -ARGUMENTS", &ERRORS), ERRORS[..2]);
    assert_eq!(wanted("-\"BAD REQUEST\" -INVALID", &ERRORS), ERRORS[1..3]);
}

#[test]
fn phrases_are_exact() {
    assert_eq!(wanted("\"BAD REQUEST\"", &ERRORS), ERRORS[..1]);
    assert_eq!(wanted(r#""say \"hi\"""#, &[r#"they say "hi""#, "say hi"]), [r#"they say "hi""#]);
}

#[test]
fn regular_expressions_stand_between_percent_signs() {
    assert_eq!(wanted("%4[12][09]%", &ERRORS), ERRORS[2..]);
    assert_eq!(wanted("%40[01]% -UNAUTHORIZED", &ERRORS), ERRORS[..1]);
}

#[test]
fn json_members_are_compared() {
    let messages = [
        r#"{"eventType":"UpdateTrail","sourceIPAddress":"111.111.111.111","n":1,"deep":{"a":[{"b":7}]},"off":false,"none":null}"#,
        r#"{"eventType":"CreateTrail","sourceIPAddress":"123.123.0.1","n":2.5e1,"a.b":"x"}"#,
        "eventType UpdateTrail",
    ];
    let [update, create, _] = messages;
    let table: [(&str, &[&str]); 22] = [
        (r#"{ $.eventType = "UpdateTrail" }"#, &[update]),
        ("{$.eventType=UpdateTrail}", &[update]),
        ("{ $.eventType = *Trail }", &[update, create]),
        ("{ $.eventType = U*T*l }", &[update]),
        ("{ $.sourceIPAddress != 123.123.* }", &[update]),
        ("{ $.n = 1 }", &[update]),
        ("{ $.n = 25 }", &[create]),
        ("{ $.n > 1 }", &[create]),
        ("{ $.n >= 1 && $.n <= 1.0 }", &[update]),
        ("{ $.n < 0 || $.n = 25 }", &[create]),
        ("{ $.n < 0 || ($.n > 0 && $.n < 2) }", &[update]),
        ("{ ($.n = 1 || $.n = 25) && $.eventType = C* }", &[create]),
        ("{ $.deep.a[0].b = 7 }", &[update]),
        ("{ $.deep.a[1].b = 7 }", &[]),
        ("{ $.deep EXISTS }", &[update]),
        ("{ $.deep NOT EXISTS }", &[create]),
        ("{ $.off IS FALSE }", &[update]),
        ("{ $.off is true }", &[]),
        ("{ $.none IS NULL }", &[update]),
        (r#"{ $.["a.b"] = x }"#, &[create]),
        ("{ $.eventType = %^(Update|Delete)% }", &[update]),
        (r#"{ $.missing != "x" }"#, &[]),
    ];
    for (pattern, expected) in table {
        assert_eq!(wanted(pattern, &messages), expected, "{pattern}");
    }
}

#[test]
fn what_is_not_understood_is_refused() {
    for pattern in [
        "foo-bar",
        "\"open",
        "\"\"",
        "%open",
        "%(%",
        "a\"b\"",
        "{",
        "{ }",
        "{ $ = 1 }",
        "{ $.a }",
        "{ $.a = }",
        "{ $.a = 1 && }",
        "{ $.a = 1 } x",
        "{ ($.a = 1 }",
        "{ $.a[x] = 1 }",
        "{ $.a > x }",
        "{ $.a IS 7 }",
        "[a, b]",
        "%a% %b% %c%",
        "?",
        "-",
    ] {
        assert!(Pattern::parse(pattern).is_err(), "{pattern}");
    }
    assert!(Pattern::parse(&"a".repeat(1025)).is_err());
    assert!(Pattern::parse(&format!("{{{}$.a = 1", "(".repeat(100))).is_err());
    assert_eq!(
        refusal("foo-bar"),
        "Invalid filter pattern: Invalid character(s) in term 'foo-bar'; put it into double quotes"
    );
    assert_eq!(
        refusal("{ $.a ~ 1 }"),
        "Invalid filter pattern: expected =, !=, <, >, <=, >=, EXISTS, NOT EXISTS, IS NULL, IS TRUE \
         or IS FALSE at `~ 1 }`"
    );
}
