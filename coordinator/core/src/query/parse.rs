//! The grammar. Every refusal says where, and what would be read there.
//!
//! ```text
//! any        = all (("or" | "||") all)*
//! all        = one (("and" | "&&") one)*
//! one        = ("not" | "!") one | "(" any ")" | subject operator [argument]
//! ```

use winnow::{
    Parser,
    ascii::multispace0,
    combinator::{alt, not, opt, preceded, separated},
    error::ParserError,
    stream::{LocatingSlice, Location, Stateful, Stream},
    token::{any as any_char, one_of, take_while},
};

use super::{
    condition::{Compared, Condition, Node, Text, said},
    limits::{DEPTH_MAX, EXPRESSION_CHARS_MAX, PATTERNS_MAX},
    pattern::Pattern,
    version::Version,
};

/// Why a text is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {problem}")]
pub struct QueryError {
    /// Position in characters, from 1.
    pub column: usize,
    /// A sentence without its first capital and its last stop.
    pub problem: String,
}

type Input<'a> = Stateful<LocatingSlice<&'a str>, Spent>;

/// What one expression has used of its bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Spent {
    depth: u32,
    patterns: usize,
}

#[derive(Debug)]
enum Fault {
    /// Something else may be read here.
    Other,
    /// The expression is wrong at this byte.
    At(usize, String),
}

impl<'a> ParserError<Input<'a>> for Fault {
    type Inner = Fault;

    fn from_input(_: &Input<'a>) -> Self {
        Fault::Other
    }

    fn is_backtrack(&self) -> bool {
        matches!(self, Fault::Other)
    }

    fn into_inner(self) -> Result<Self::Inner, Self> {
        Ok(self)
    }
}

fn wrong<T>(at: usize, problem: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::At(at, problem.into()))
}

pub(super) fn expression(text: &str) -> Result<Node, QueryError> {
    let column = |at: usize| text.get(..at).map_or(0, |before| before.chars().count()) + 1;
    if text.chars().nth(EXPRESSION_CHARS_MAX).is_some() {
        let column = EXPRESSION_CHARS_MAX + 1;
        let problem = format!("an expression has at most {EXPRESSION_CHARS_MAX} characters");
        return Err(QueryError { column, problem });
    }
    let mut input = Stateful { input: LocatingSlice::new(text), state: Spent::default() };
    whole(&mut input).map_err(|fault| match fault {
        Fault::At(at, problem) => QueryError { column: column(at), problem },
        Fault::Other => {
            let problem = "this is not understood".to_owned();
            QueryError { column: column(input.current_token_start()), problem }
        }
    })
}

fn whole(input: &mut Input<'_>) -> Result<Node, Fault> {
    let node = any(input)?;
    multispace0.void().parse_next(input)?;
    let at = input.current_token_start();
    match input.peek_token() {
        None => Ok(node),
        Some(')') => wrong(at, "no ( is open that this ) could close"),
        Some(_) => wrong(at, "the end, or `and` or `or` and another condition, is expected here"),
    }
}

fn any(input: &mut Input<'_>) -> Result<Node, Fault> {
    let or = alt(("||".void(), word("or")));
    let nodes: Vec<Node> = separated(1.., all, preceded(multispace0, or)).parse_next(input)?;
    Ok(one_or(nodes, Node::Any))
}

fn all(input: &mut Input<'_>) -> Result<Node, Fault> {
    let and = alt(("&&".void(), word("and")));
    let nodes: Vec<Node> = separated(1.., one, preceded(multispace0, and)).parse_next(input)?;
    Ok(one_or(nodes, Node::All))
}

fn one_or(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match nodes.pop() {
        Some(node) if nodes.is_empty() => node,
        last => {
            nodes.extend(last);
            many(nodes)
        }
    }
}

fn one(input: &mut Input<'_>) -> Result<Node, Fault> {
    multispace0.void().parse_next(input)?;
    let at = input.current_token_start();
    if opt(alt(("!".void(), word("not")))).parse_next(input)?.is_some() {
        let node = deeper(at, input, one)?;
        return Ok(Node::Not(Box::new(node)));
    }
    if opt('(').parse_next(input)?.is_some() {
        let node = deeper(at, input, any)?;
        multispace0.void().parse_next(input)?;
        if opt(')').parse_next(input)?.is_none() {
            let end = input.current_token_start();
            return wrong(end, "`and`, `or`, or the ) that closes an earlier ( is expected here");
        }
        return Ok(node);
    }
    comparison(input)
}

fn deeper<'a>(
    at: usize,
    input: &mut Input<'a>,
    inner: fn(&mut Input<'a>) -> Result<Node, Fault>,
) -> Result<Node, Fault> {
    if input.state.depth == DEPTH_MAX {
        let problem = format!("at most {DEPTH_MAX} negations and parentheses may be nested");
        return wrong(at, problem);
    }
    input.state.depth += 1;
    let node = inner(input)?;
    input.state.depth -= 1;
    Ok(node)
}

/// What attributes' names are made of, and the colons of subjects.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '\\' | ':')
}

/// A keyword that no letter follows.
fn word<'a>(keyword: &'static str) -> impl Parser<Input<'a>, (), Fault> {
    (keyword, not(one_of(is_of_name))).void()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Order(Compared),
    Unequal,
    Exists,
    NotExists,
    In,
    NotIn,
    Matches,
    NotMatches,
}

impl Operator {
    fn is_negated(self) -> bool {
        match self {
            Operator::Unequal | Operator::NotExists | Operator::NotIn | Operator::NotMatches => {
                true
            }
            Operator::Order(_) | Operator::Exists | Operator::In | Operator::Matches => false,
        }
    }
}

/// Signs first, a longer one before its beginning; of names only whole ones are read.
const OPERATORS: [(&str, Operator); 22] = [
    ("==", Operator::Order(Compared::Equal)),
    ("!=", Operator::Unequal),
    (">=", Operator::Order(Compared::GreaterOrEqual)),
    ("<=", Operator::Order(Compared::LessOrEqual)),
    (">", Operator::Order(Compared::Greater)),
    ("<", Operator::Order(Compared::Less)),
    ("=~", Operator::Matches),
    ("!~", Operator::NotMatches),
    ("!exists", Operator::NotExists),
    ("!in", Operator::NotIn),
    ("equals", Operator::Order(Compared::Equal)),
    ("not_equals", Operator::Unequal),
    ("greater_than", Operator::Order(Compared::Greater)),
    ("greater_than_equal", Operator::Order(Compared::GreaterOrEqual)),
    ("less_than", Operator::Order(Compared::Less)),
    ("less_than_equal", Operator::Order(Compared::LessOrEqual)),
    ("exists", Operator::Exists),
    ("not_exists", Operator::NotExists),
    ("in", Operator::In),
    ("not_in", Operator::NotIn),
    ("matches", Operator::Matches),
    ("not_matches", Operator::NotMatches),
];

fn operator(input: &mut Input<'_>) -> Result<Operator, Fault> {
    for (text, operator) in OPERATORS {
        let read = match text.ends_with(|c: char| c.is_ascii_alphabetic()) {
            true => opt(word(text)).parse_next(input)?,
            false => opt(text.void()).parse_next(input)?,
        };
        if read.is_some() {
            return Ok(operator);
        }
    }
    Err(Fault::Other)
}

/// A literal and the byte at which it begins.
struct Literal<'a> {
    at: usize,
    text: &'a str,
}

fn comparison(input: &mut Input<'_>) -> Result<Node, Fault> {
    let subject_at = input.current_token_start();
    let subject: &str = take_while(0.., is_of_name).parse_next(input)?;
    if subject.is_empty() {
        return wrong(
            subject_at,
            format!("a condition is expected here: {SUBJECTS}, and what of it"),
        );
    }
    let subject = Subject::of(subject_at, subject)?;
    multispace0.void().parse_next(input)?;
    let at = input.current_token_start();
    let Some(operator) = opt(operator).parse_next(input)? else {
        return wrong(
            at,
            "an operator is expected here: == != > >= < <= exists !exists in !in =~ !~",
        );
    };
    multispace0.void().parse_next(input)?;
    let condition = match operator {
        Operator::Exists | Operator::NotExists => subject.exists(at)?,
        Operator::In | Operator::NotIn => subject.one_of(at, list(input)?)?,
        Operator::Matches | Operator::NotMatches => {
            subject.can_match(at)?;
            subject.matches(pattern(input)?)
        }
        Operator::Order(compared) => subject.compared(at, compared, literal(input)?)?,
        Operator::Unequal => subject.compared(at, Compared::Equal, literal(input)?)?,
    };
    let node = Node::Is(condition);
    Ok(if operator.is_negated() { Node::Not(Box::new(node)) } else { node })
}

fn list<'a>(input: &mut Input<'a>) -> Result<Vec<Literal<'a>>, Fault> {
    let at = input.current_token_start();
    if opt('[').parse_next(input)?.is_none() {
        return wrong(at, "a list in brackets is expected here, [a, b] for example");
    }
    let item = |input: &mut Input<'a>| {
        multispace0.void().parse_next(input)?;
        literal(input)
    };
    let items: Vec<Literal<'a>> =
        separated(1.., item, preceded(multispace0, ',')).parse_next(input)?;
    multispace0.void().parse_next(input)?;
    if opt(']').parse_next(input)?.is_none() {
        let end = input.current_token_start();
        return wrong(
            end,
            "a comma and another value, or the ] that ends the list, is expected here",
        );
    }
    Ok(items)
}

/// A literal in quotes, which may then stand for anything but themselves, or a bare one.
fn literal<'a>(input: &mut Input<'a>) -> Result<Literal<'a>, Fault> {
    if let Some(quoted) = quoted(input)? {
        return Ok(quoted);
    }
    let at = input.current_token_start();
    let rest = input.peek_slice(input.eof_offset());
    let end = bare_end(rest, |c, _| matches!(c, '(' | ')' | '[' | ']' | ','));
    if end == 0 {
        return match input.peek_token() {
            Some('[') => wrong(at, "one value is expected here; `in` takes a list"),
            _ => wrong(at, "a value is expected here; put it into quotes if it has other signs"),
        };
    }
    Ok(Literal { at, text: input.next_slice(end) })
}

/// A regular expression: bare, it may have parentheses and brackets, as long as each is closed.
fn pattern(input: &mut Input<'_>) -> Result<Pattern, Fault> {
    let given = match quoted(input)? {
        Some(quoted) => quoted,
        None => {
            let at = input.current_token_start();
            let rest = input.peek_slice(input.eof_offset());
            let (mut open, mut escaped) = (0_usize, false);
            let end = bare_end(rest, |c, inside| {
                let plain = !escaped;
                escaped = c == '\\' && plain;
                match c {
                    '(' | '[' if plain => open += 1,
                    ')' | ']' if plain && open == 0 => return true,
                    ')' | ']' if plain => open -= 1,
                    _ => {}
                }
                *inside = open > 0;
                false
            });
            if end == 0 {
                return wrong(at, "a regular expression is expected here, t2.* for example");
            }
            Literal { at, text: input.next_slice(end) }
        }
    };
    input.state.patterns += 1;
    if input.state.patterns > PATTERNS_MAX {
        let problem = format!("an expression has at most {PATTERNS_MAX} regular expressions");
        return wrong(given.at, problem);
    }
    Pattern::parse(given.text).or_else(|error| wrong(given.at + error.at, error.problem))
}

/// Where a bare value ends: at a space, a quote, `&&` or `||`, or where `ends` says; `inside` of
/// brackets `&&` and `||` are part of it.
fn bare_end(rest: &str, mut ends: impl FnMut(char, &mut bool) -> bool) -> usize {
    let mut inside = false;
    for (at, c) in rest.char_indices() {
        let joins = !inside && (rest[at..].starts_with("&&") || rest[at..].starts_with("||"));
        if joins || c.is_whitespace() || matches!(c, '\'' | '"') || ends(c, &mut inside) {
            return at;
        }
    }
    rest.len()
}

fn quoted<'a>(input: &mut Input<'a>) -> Result<Option<Literal<'a>>, Fault> {
    let begin = input.current_token_start();
    let Some(quote) = opt(one_of(['\'', '"'])).parse_next(input)? else { return Ok(None) };
    let at = input.current_token_start();
    let text: &str = take_while(0.., move |c| c != quote).parse_next(input)?;
    match opt(any_char).parse_next(input)? {
        Some(_) => Ok(Some(Literal { at, text })),
        None => wrong(begin, format!("this {quote} has no counterpart")),
    }
}

const SUBJECTS: &str = "agentConnected, agentVersion, ec2InstanceId, registeredAt, \
                        runningTasksCount, attribute:NAME or task:group";

#[derive(Clone, Copy, Debug)]
enum Subject<'a> {
    AgentConnected,
    AgentVersion,
    InstanceId,
    RegisteredAt,
    RunningTasks,
    Attribute(&'a str),
    TaskGroup,
}

impl<'a> Subject<'a> {
    fn of(at: usize, text: &'a str) -> Result<Self, Fault> {
        Ok(match text {
            "agentConnected" => Subject::AgentConnected,
            "agentVersion" => Subject::AgentVersion,
            "ec2InstanceId" => Subject::InstanceId,
            "registeredAt" => Subject::RegisteredAt,
            "runningTasksCount" => Subject::RunningTasks,
            "task:group" => Subject::TaskGroup,
            _ => match text.strip_prefix("attribute:") {
                Some("") => return wrong(at, "an attribute's name belongs after attribute:"),
                Some(name) => Subject::Attribute(name),
                None => {
                    let shown: String = text.chars().take(64).collect();
                    let problem = format!("`{shown}` is no subject; these are: {SUBJECTS}");
                    return wrong(at, problem);
                }
            },
        })
    }

    fn name(self) -> &'static str {
        match self {
            Subject::AgentConnected => "agentConnected",
            Subject::AgentVersion => "agentVersion",
            Subject::InstanceId => "ec2InstanceId",
            Subject::RegisteredAt => "registeredAt",
            Subject::RunningTasks => "runningTasksCount",
            Subject::Attribute(_) => "attribute",
            Subject::TaskGroup => "task:group",
        }
    }

    fn exists(self, at: usize) -> Result<Condition, Fault> {
        match self {
            Subject::Attribute(name) => Ok(Condition::HasAttribute(name.into())),
            Subject::TaskGroup => Ok(Condition::HasTasks),
            _ => wrong(at, format!("{} always exists; compare it", self.name())),
        }
    }

    fn can_match(self, at: usize) -> Result<(), Fault> {
        match self {
            Subject::AgentVersion | Subject::RegisteredAt | Subject::RunningTasks => {
                wrong(at, format!("{} takes == != > >= < and <=", self.name()))
            }
            _ => Ok(()),
        }
    }

    fn one_of(self, at: usize, list: Vec<Literal<'_>>) -> Result<Condition, Fault> {
        self.can_match(at)?;
        if let (Subject::AgentConnected, Some(odd)) = (self, list.iter().find(|l| !is_boolean(l))) {
            return wrong(odd.at, "agentConnected is true or false");
        }
        Ok(self.text(Text::OneOf(list.iter().map(|literal| literal.text.into()).collect())))
    }

    fn matches(self, pattern: Pattern) -> Condition {
        self.text(Text::Matches(pattern))
    }

    /// The condition on a subject that [`Subject::can_match`].
    fn text(self, text: Text) -> Condition {
        match self {
            Subject::AgentConnected => Condition::AgentConnected(text),
            Subject::Attribute(name) => Condition::Attribute(name.into(), text),
            Subject::TaskGroup => Condition::TaskGroup(text),
            Subject::InstanceId
            | Subject::AgentVersion
            | Subject::RegisteredAt
            | Subject::RunningTasks => Condition::InstanceId(text),
        }
    }

    fn compared(
        self,
        at: usize,
        compared: Compared,
        with: Literal<'_>,
    ) -> Result<Condition, Fault> {
        match self {
            Subject::AgentVersion => match Version::parse(with.text) {
                Some(version) => Ok(Condition::AgentVersion(compared, version)),
                None => wrong(with.at, "a version is expected here, 1.94.0 for example"),
            },
            Subject::RunningTasks => match with.text.parse() {
                Ok(count) => Ok(Condition::RunningTasks(compared, count)),
                Err(_) => wrong(with.at, "a whole number from 0 is expected here"),
            },
            Subject::RegisteredAt => match seconds(with.text) {
                Some(seconds) => Ok(Condition::RegisteredAt(compared, seconds)),
                None => wrong(
                    with.at,
                    "a date is expected here: 2018-06-18, 2018-06-18T22:28:28, with Z or +00:00",
                ),
            },
            Subject::Attribute(name) if compared != Compared::Equal => {
                Ok(Condition::AttributeOrder(name.into(), compared, with.text.into()))
            }
            Subject::AgentConnected
            | Subject::InstanceId
            | Subject::TaskGroup
            | Subject::Attribute(_) => match compared {
                Compared::Equal => self.one_of(at, vec![with]),
                _ => wrong(at, format!("{} takes == != in !in =~ and !~", self.name())),
            },
        }
    }
}

fn is_boolean(literal: &Literal<'_>) -> bool {
    [true, false].map(said).contains(&literal.text)
}

/// Seconds of a date or a time, which is in UTC when it says nothing else.
fn seconds(text: &str) -> Option<u32> {
    let allowed = |c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | 'T' | 'Z' | '+' | '.');
    if !text.chars().all(allowed) {
        return None;
    }
    let at_utc = |time: jiff::civil::DateTime| time.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let timestamp = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let time = text.parse::<jiff::civil::DateTime>().ok()?;
        Some(at_utc(time)?.timestamp())
    })?;
    u32::try_from(timestamp.as_second()).ok()
}
