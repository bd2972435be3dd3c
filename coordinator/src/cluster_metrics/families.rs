//! Families of metrics in the text format of Prometheus.

use std::fmt::{Display, Write};

/// Families in the text format of Prometheus.
#[derive(Default)]
pub(super) struct Families(String);

impl Families {
    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            // Names of clusters and services have no character that needs an escape.
            let _ = write!(self.0, "{}{label}=\"{value}\"", if index == 0 { "{" } else { "," });
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{end} {value}");
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_labels_or_none() {
        let mut families = Families::default();
        families.family("a", "gauge", "Of a");
        families.sample("a", &[], 1);
        families.sample("a", &[("b", "c"), ("d", "e")], 2.5);
        assert_eq!(families.0, "# HELP a Of a\n# TYPE a gauge\na 1\na{b=\"c\",d=\"e\"} 2.5\n");
    }
}
