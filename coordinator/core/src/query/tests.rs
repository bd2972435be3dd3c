//! Every subject, operator and form; every refusal with its place.

use super::*;

/// An instance as the tests tell of it.
struct Instance {
    connected: bool,
    version: Option<Version>,
    attributes: Vec<(&'static str, Option<&'static str>)>,
    groups: Vec<&'static str>,
}

impl Facts for Instance {
    fn agent_connected(&self) -> bool {
        self.connected
    }
    fn agent_version(&self) -> Option<&Version> {
        self.version.as_ref()
    }
    fn instance_id(&self) -> Option<&str> {
        self.connected.then_some("i-0abc")
    }
    fn registered_at_s(&self) -> u32 {
        // 2018-06-18T22:28:28Z
        1_529_360_908
    }
    fn running_tasks(&self) -> u32 {
        3
    }
    fn attribute(&self, name: &str) -> Option<Option<&str>> {
        self.attributes.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }
    fn has_group(&self, wanted: &mut dyn FnMut(&str) -> bool) -> bool {
        self.groups.iter().any(|group| wanted(group))
    }
}

fn instance() -> Instance {
    Instance {
        connected: true,
        version: Version::parse("1.94.0"),
        attributes: vec![
            ("ecs.instance-type", Some("t2.small")),
            ("ecs.availability-zone", Some("us-east-1a")),
            ("rack", Some("10")),
            ("ssd", None),
        ],
        groups: vec!["service:web", "family:batch"],
    }
}

fn holds(text: &str) -> bool {
    let parsed = Expression::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    parsed.holds(&instance())
}

fn check(holding: &[&str], others: &[&str]) {
    for text in holding {
        assert!(holds(text), "{text} holds");
    }
    for text in others {
        assert!(!holds(text), "{text} does not hold");
    }
}

#[test]
fn attributes_are_compared_by_every_operator() {
    check(
        &[
            "attribute:ecs.instance-type == t2.small",
            "attribute:ecs.instance-type equals t2.small",
            "attribute:ecs.instance-type==t2.small",
            "attribute:ecs.instance-type == 't2.small'",
            "attribute:ecs.instance-type == \"t2.small\"",
            "attribute:ecs.instance-type != t2.large",
            "attribute:ecs.instance-type not_equals t2.large",
            "attribute:ecs.instance-type =~ t2.*",
            "attribute:ecs.instance-type matches t[23]\\.(small|large)",
            "attribute:ecs.instance-type !~ g2.*",
            "attribute:ecs.instance-type not_matches 'g2 .*'",
            "attribute:ecs.availability-zone in [us-east-1a, us-east-1b]",
            "attribute:ecs.availability-zone in ['us-east-1a',\"b\"]",
            "attribute:ecs.availability-zone in[us-east-1a]",
            "attribute:ecs.availability-zone !in [us-east-1c]",
            "attribute:ecs.availability-zone not_in [ us-east-1c ]",
            "attribute:rack > 9",
            "attribute:rack greater_than 9",
            "attribute:rack >= 10.0",
            "attribute:rack greater_than_equal 10",
            "attribute:rack < 11",
            "attribute:rack less_than 100",
            "attribute:rack <= 10",
            "attribute:rack less_than_equal 10",
            "attribute:ecs.instance-type < t3",
            "attribute:ssd exists",
            "attribute:hdd !exists",
            "attribute:hdd not_exists",
        ],
        &[
            "attribute:ecs.instance-type == t2",
            "attribute:ecs.instance-type == T2.small",
            "attribute:ecs.instance-type != t2.small",
            "attribute:ecs.instance-type =~ t2",
            "attribute:ecs.instance-type !~ t2.+",
            "attribute:ecs.availability-zone in [a]",
            "attribute:ecs.availability-zone !in [a, us-east-1a]",
            "attribute:rack > 10",
            "attribute:rack < 9",
            "attribute:ecs.instance-type > t3",
            "attribute:hdd exists",
            "attribute:ssd !exists",
        ],
    );
}

#[test]
fn a_missing_attribute_and_one_without_a_value_are_equal_to_nothing() {
    check(
        &[
            "attribute:hdd != a",
            "attribute:hdd !in [a]",
            "attribute:hdd !~ .*",
            "attribute:ssd != a",
            "attribute:ssd !~ .*",
        ],
        &[
            "attribute:hdd == ''",
            "attribute:hdd in ['']",
            "attribute:hdd =~ .*",
            "attribute:hdd < z",
            "attribute:ssd == ''",
            "attribute:ssd =~ .*",
            "attribute:ssd <= 1",
        ],
    );
}

#[test]
fn every_other_subject_is_compared() {
    check(
        &[
            "agentConnected == true",
            "agentConnected==true",
            "agentConnected != false",
            "agentConnected in [true, false]",
            "agentConnected !in [false]",
            "agentConnected =~ t.*",
            "agentConnected !~ f.*",
            "agentVersion == 1.94",
            "agentVersion != 1.9.4",
            "agentVersion > 1.9.4",
            "agentVersion >= v1.94.0",
            "agentVersion < 1.100.0",
            "agentVersion <= 2",
            "ec2InstanceId == i-0abc",
            "ec2InstanceId != i-0",
            "ec2InstanceId in ['i-0abc', 'i-1']",
            "ec2InstanceId !in [i-1]",
            "ec2InstanceId =~ i-.*",
            "ec2InstanceId !~ mi-.*",
            "registeredAt == 2018-06-18T22:28:28Z",
            "registeredAt == 2018-06-18T22:28:28",
            "registeredAt >= 2018-06-18T22:28:28+00:00",
            "registeredAt <= 2018-06-19T00:28:28+02:00",
            "registeredAt > 2018-06-18",
            "registeredAt < '2018-06-19'",
            "registeredAt != 2018-06-18",
            "runningTasksCount == 3",
            "runningTasksCount != 0",
            "runningTasksCount > 2",
            "runningTasksCount >= 3",
            "runningTasksCount < 4",
            "runningTasksCount less_than_equal 3",
            "task:group == service:web",
            "task:group != service:db",
            "task:group in [service:db, family:batch]",
            "task:group !in [service:db]",
            "task:group =~ service:w.*",
            "task:group !~ .*:db",
            "task:group exists",
        ],
        &[
            "agentConnected == false",
            "agentVersion < 1.94",
            "ec2InstanceId == i-0ab",
            "registeredAt < 2018-06-18",
            "runningTasksCount > 3",
            "task:group == web",
            "task:group != service:web",
            "task:group !exists",
        ],
    );
    let unknown = Instance { connected: false, version: None, groups: vec![], ..instance() };
    let holds = |text: &str| Expression::parse(text).unwrap().holds(&unknown);
    assert!(holds("agentConnected == false && agentVersion != 1 && ec2InstanceId != a"));
    assert!(!holds(
        "agentVersion < 1 or agentVersion >= 1 or ec2InstanceId =~ .* or task:group exists"
    ));
}

#[test]
fn conditions_are_joined_and_binds_closer_than_or() {
    let (yes, no) = ("attribute:ssd exists", "attribute:hdd exists");
    let cases = [
        (format!("{yes} and {no}"), false),
        (format!("{yes} && {yes}"), true),
        (format!("{yes}&&{no}"), false),
        (format!("{no} or {yes}"), true),
        (format!("{no} || {no}"), false),
        (format!("{yes} or {yes} and {no}"), true),
        (format!("({yes} or {yes}) and {no}"), false),
        (format!("not({no})"), true),
        (format!("not {yes}"), false),
        (format!("!({no}) and !{no}"), true),
        (format!("!!{yes}"), true),
        (format!("not {no} and {no}"), false),
        (format!("(({yes}))and({yes})"), true),
        (format!("  \n( {no} or\t{yes} )  "), true),
    ];
    for (text, expected) in cases {
        assert_eq!(holds(&text), expected, "{text}");
    }
    check(
        &[
            "(attribute:rack =~ 1(0|1)) and (attribute:rack =~ [0-9]{2})",
            "attribute:rack=~1.&&attribute:ssd exists",
        ],
        &["not(task:group == service:web)"],
    );
}

#[test]
fn what_is_wrong_is_said_with_its_column() {
    let deep = format!("{}attribute:a exists", "!".repeat(33));
    let many = vec!["attribute:a =~ b"; 17].join(" or ");
    let long = format!("attribute:a == {}", "é".repeat(2000));
    let texts = [
        "",
        " ",
        "attribute",
        "attribute:",
        "attribute: == a",
        "a == b",
        "attribute:a",
        "attribute:a =",
        "attribute:a = b",
        "attribute:a ==",
        "attribute:a == b c",
        "attribute:a == [b]",
        "attribute:a in b",
        "attribute:a in []",
        "attribute:a in [b",
        "attribute:a in [b,]",
        "attribute:a in [b c]",
        "attribute:a == 'b",
        "(attribute:a == b",
        "attribute:a == b)",
        "attribute:a == b and",
        "attribute:a == b or or",
        "and",
        "not",
        "attribute:a =~ ",
        "attribute:é == b",
        "attribute:a == 'é' x",
        "attribute:a =~ 'é(?=b)'",
        "attribute:a =~ b*+",
        "attribute:a =~ (b{99}){99}",
        "agentConnected == yes",
        "agentConnected > true",
        "agentConnected exists",
        "agentVersion == x",
        "agentVersion in [1]",
        "ec2InstanceId < a",
        "registeredAt == today",
        "registeredAt =~ 2018.*",
        "runningTasksCount == -1",
        "runningTasksCount == 1.5",
        "runningTasksCount in [1]",
        "task:group > a",
        "task:groups == a",
        "attribute:a existsx",
        "attribute:a inn [b]",
        &deep,
        &many,
        &long,
    ];
    let said = |text: &str| match Expression::parse(text) {
        Ok(_) => panic!("{text} is taken"),
        Err(error) => {
            let shown: String = text.chars().take(30).collect();
            format!("{shown:?} {error}")
        }
    };
    let said: Vec<String> = texts.iter().map(|text| said(text)).collect();
    expect_test::expect![[r#"
        "" column 1: a condition is expected here: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group, and what of it
        " " column 2: a condition is expected here: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group, and what of it
        "attribute" column 1: `attribute` is no subject; these are: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group
        "attribute:" column 1: an attribute's name belongs after attribute:
        "attribute: == a" column 1: an attribute's name belongs after attribute:
        "a == b" column 1: `a` is no subject; these are: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group
        "attribute:a" column 12: an operator is expected here: == != > >= < <= exists !exists in !in =~ !~
        "attribute:a =" column 13: an operator is expected here: == != > >= < <= exists !exists in !in =~ !~
        "attribute:a = b" column 13: an operator is expected here: == != > >= < <= exists !exists in !in =~ !~
        "attribute:a ==" column 15: a value is expected here; put it into quotes if it has other signs
        "attribute:a == b c" column 18: the end, or `and` or `or` and another condition, is expected here
        "attribute:a == [b]" column 16: one value is expected here; `in` takes a list
        "attribute:a in b" column 16: a list in brackets is expected here, [a, b] for example
        "attribute:a in []" column 17: a value is expected here; put it into quotes if it has other signs
        "attribute:a in [b" column 18: a comma and another value, or the ] that ends the list, is expected here
        "attribute:a in [b,]" column 19: a value is expected here; put it into quotes if it has other signs
        "attribute:a in [b c]" column 19: a comma and another value, or the ] that ends the list, is expected here
        "attribute:a == 'b" column 16: this ' has no counterpart
        "(attribute:a == b" column 18: `and`, `or`, or the ) that closes an earlier ( is expected here
        "attribute:a == b)" column 17: no ( is open that this ) could close
        "attribute:a == b and" column 21: a condition is expected here: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group, and what of it
        "attribute:a == b or or" column 21: `or` is no subject; these are: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group
        "and" column 1: `and` is no subject; these are: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group
        "not" column 4: a condition is expected here: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group, and what of it
        "attribute:a =~ " column 16: a regular expression is expected here, t2.* for example
        "attribute:é == b" column 1: an attribute's name belongs after attribute:
        "attribute:a == 'é' x" column 20: the end, or `and` or `or` and another condition, is expected here
        "attribute:a =~ 'é(?=b)'" column 18: look-around, (?=…), is not supported
        "attribute:a =~ b*+" column 17: possessive repetition is not supported; leave its last + out
        "attribute:a =~ (b{99}){99}" column 16: this regular expression is too large; have it repeat less
        "agentConnected == yes" column 19: agentConnected is true or false
        "agentConnected > true" column 16: agentConnected takes == != in !in =~ and !~
        "agentConnected exists" column 16: agentConnected always exists; compare it
        "agentVersion == x" column 17: a version is expected here, 1.94.0 for example
        "agentVersion in [1]" column 14: agentVersion takes == != > >= < and <=
        "ec2InstanceId < a" column 15: ec2InstanceId takes == != in !in =~ and !~
        "registeredAt == today" column 17: a date is expected here: 2018-06-18, 2018-06-18T22:28:28, with Z or +00:00
        "registeredAt =~ 2018.*" column 14: registeredAt takes == != > >= < and <=
        "runningTasksCount == -1" column 22: a whole number from 0 is expected here
        "runningTasksCount == 1.5" column 22: a whole number from 0 is expected here
        "runningTasksCount in [1]" column 19: runningTasksCount takes == != > >= < and <=
        "task:group > a" column 12: task:group takes == != in !in =~ and !~
        "task:groups == a" column 1: `task:groups` is no subject; these are: agentConnected, agentVersion, ec2InstanceId, registeredAt, runningTasksCount, attribute:NAME or task:group
        "attribute:a existsx" column 13: an operator is expected here: == != > >= < <= exists !exists in !in =~ !~
        "attribute:a inn [b]" column 13: an operator is expected here: == != > >= < <= exists !exists in !in =~ !~
        "!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!" column 33: at most 32 negations and parentheses may be nested
        "attribute:a =~ b or attribute:" column 336: an expression has at most 16 regular expressions
        "attribute:a == ééééééééééééééé" column 2001: an expression has at most 2000 characters"#]].assert_eq(&said.join("\n"));
}

#[test]
fn an_expression_is_kept_as_its_text() {
    let given = "attribute:a  ==  b";
    let constraint = Constraint::parse(given).unwrap();
    let kept = serde_json::to_value(&constraint).unwrap();
    assert_eq!(kept, serde_json::json!(given));
    assert_eq!(serde_json::from_value::<Constraint>(kept).unwrap(), constraint);
    // A text that this release does not read is kept, and no instance meets it.
    let odd: Constraint = serde_json::from_value(serde_json::json!("weather == fine")).unwrap();
    assert_eq!(odd.text(), "weather == fine");
    assert!(!odd.expression().holds(&instance()));
}
