//! `.env` files as ECS reads them: `NAME=value` a line, taken as it stands, without quoting.

/// Lines that begin with it say nothing.
const COMMENT: char = '#';

/// The variables in the order of their first lines; of two with one name, the last counts. A value
/// is all that stands behind the `=`, blanks too.
pub(crate) fn variables(text: &str) -> Vec<(&str, &str)> {
    let mut variables: Vec<(&str, &str)> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start();
        if line.starts_with(COMMENT) {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        if name.is_empty() {
            continue;
        }
        match variables.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => variables.push((name, value)),
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_variable_as_it_stands() {
        let text = "# of the shop\nA=1\n\nB=\"two words\"\r\n C=x=y \nnothing\n=empty\nD=\nA=2\n";
        let expected = [("A", "2"), ("B", "\"two words\""), ("C", "x=y "), ("D", "")];
        assert_eq!(variables(text), expected);
    }
}
