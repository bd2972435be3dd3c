//! Booleans that ECS and Docker read from a text: options of log drivers and variables of the agent.

/// What an error says to write.
pub const FORMS: &str = "true or false";

/// Reads a text by Go's `strconv.ParseBool`; `None` when it is no boolean there.
pub fn parse(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boolean_has_the_forms_of_parse_bool_and_no_other() {
        for text in ["1", "t", "T", "TRUE", "true", "True"] {
            assert_eq!(parse(text), Some(true), "{text}");
        }
        for text in ["0", "f", "F", "FALSE", "false", "False"] {
            assert_eq!(parse(text), Some(false), "{text}");
        }
        for text in ["", " true", "tRUE", "yes", "no", "on", "off", "2", "01"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
