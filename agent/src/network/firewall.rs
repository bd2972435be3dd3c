//! The firewall's rules that tasks need, by the programs that Docker itself needs.
//!
//! All rules of a family are read once, by one process, and compared here: a look at a host that is
//! as it should be starts two processes, whatever the number of rules. iptables-legacy-save finds the
//! tables in /proc/net/ip_tables_names, prints nothing where that is hidden (ProcSubset=pid) and
//! succeeds: an answer without any table is not believed, and each table is listed by itself then. A
//! rule counts only where no rule before it could take its packets: Docker puts its own first when it
//! starts. Never: a change of a rule that others made.

use std::{io, net::IpAddr, process::Stdio};

use tokio::process::Command;

/// Runs iptables' programs; tests count what they would run.
pub(super) trait FirewallPrograms: Sync {
    /// What the program printed, or what it complained of.
    fn run(
        &self,
        program: &'static str,
        arguments: &[&str],
    ) -> impl Future<Output = Result<String, String>> + Send;
}

/// The programs as they are installed on this host.
pub(super) struct InstalledPrograms;

impl FirewallPrograms for InstalledPrograms {
    async fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, String> {
        let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
        let failed = |error: io::Error| format!("{program}: {error}");
        let output = ran.map_err(failed)?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        }
    }
}

/// A rule at the beginning of a chain, in the words that iptables takes: options with one value each,
/// the target last.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) table: &'static str,
    pub(super) chain: &'static str,
    pub(super) words: Vec<String>,
}

impl Rule {
    pub(super) fn new(table: &'static str, chain: &'static str, words: &[&str]) -> Rule {
        Rule { table, chain, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    fn line<'a>(&'a self, verb: &[&'a str]) -> Vec<&'a str> {
        let words = self.words.iter().map(String::as_str);
        ["-w", "-t", self.table].into_iter().chain(verb.iter().copied()).chain(words).collect()
    }

    /// In a form that does not depend on what iptables-save prints first, or adds.
    fn canonical(&self) -> Canonical {
        canonical(self.table, self.chain, self.words.iter().map(String::as_str))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "-t {} -I {} 1 {}", self.table, self.chain, self.words.join(" "))
    }
}

/// A rule in a form that does not depend on the order of its options.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Canonical {
    table: String,
    chain: String,
    /// With their values, sorted.
    options: Vec<(String, String)>,
}

impl Canonical {
    fn option(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(option, _)| option == name)?;
        Some(&found.1)
    }

    /// Whether a packet may match both: not where they name different destinations or devices.
    fn may_take_packets_of(&self, other: &Canonical) -> bool {
        let same_chain = self.table == other.table && self.chain == other.chain;
        let differs = |name| {
            let both = self.option(name).zip(other.option(name));
            // A network may hold the other's address.
            both.is_some_and(|(own, others)| own != others && !own.contains('/'))
        };
        same_chain && !differs("-d") && !differs("-i")
    }
}

/// Where a rule stands in what was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleStanding {
    Missing,
    /// Behind a rule that may take its packets.
    Behind,
    First,
}

/// The rules of one family, as far as they were read.
#[derive(Default)]
struct FamilyRules {
    rules: Vec<Canonical>,
    /// The tables that were listed by themselves; absent when all were read at once.
    listed_tables: Option<Vec<&'static str>>,
}

/// Rules of one host, each family read when it is first asked about.
pub(super) struct Firewall<P> {
    programs: P,
    families: [Option<FamilyRules>; 2],
}

impl<P: FirewallPrograms> Firewall<P> {
    pub(super) fn new(programs: P) -> Self {
        Firewall { programs, families: [None, None] }
    }

    /// Puts a rule before all others of its chain where it is missing or comes too late. Whether it
    /// was so.
    pub(super) async fn ensure(&mut self, address: IpAddr, rule: &Rule) -> Result<bool, String> {
        match self.standing(address, rule).await? {
            RuleStanding::First => return Ok(false),
            RuleStanding::Missing if self.is_there(address, rule).await => return Ok(false),
            RuleStanding::Missing => {}
            RuleStanding::Behind => {
                self.programs.run(changes(address), &rule.line(&["-D", rule.chain])).await?;
            }
        }
        let insert = rule.line(&["-I", rule.chain, "1"]);
        self.programs.run(changes(address), &insert).await?;
        let known = &mut self.families[family(address)].get_or_insert_default().rules;
        let own = rule.canonical();
        known.retain(|known| *known != own);
        known.insert(0, own);
        Ok(true)
    }

    /// Whether it was there.
    pub(super) async fn remove(&mut self, address: IpAddr, rule: &Rule) -> Result<bool, String> {
        if self.standing(address, rule).await? == RuleStanding::Missing {
            return Ok(false);
        }
        self.programs.run(changes(address), &rule.line(&["-D", rule.chain])).await?;
        // What else is there may be the same rule once more.
        self.families[family(address)] = None;
        Ok(true)
    }

    async fn standing(&mut self, address: IpAddr, rule: &Rule) -> Result<RuleStanding, String> {
        let rules = self.read(address, rule.table).await?;
        let own = rule.canonical();
        Ok(match rules.iter().position(|known| *known == own) {
            None => RuleStanding::Missing,
            Some(at) if rules[..at].iter().any(|before| before.may_take_packets_of(&own)) => {
                RuleStanding::Behind
            }
            Some(_) => RuleStanding::First,
        })
    }

    /// The rules of a family, those of `table` at least.
    async fn read(&mut self, address: IpAddr, table: &'static str) -> Result<&[Canonical], String> {
        let family = &mut self.families[family(address)];
        let FamilyRules { rules, listed_tables } = match family {
            Some(read) => read,
            None => family.insert(saved(&self.programs.run(saves(address), &[]).await?)),
        };
        if let Some(listed) = listed_tables
            && !listed.contains(&table)
        {
            // A table that cannot be listed, such as one that the kernel lacks, has no rules.
            let list = ["-w", "-t", table, "-S"];
            let text = self.programs.run(changes(address), &list).await.unwrap_or_default();
            rules.extend(text.lines().filter_map(|line| appended(table, line)));
            listed.push(table);
        }
        Ok(rules)
    }

    /// Asks once more before a rule is added: one that is printed in a way not known here must not be
    /// added at every look.
    async fn is_there(&self, address: IpAddr, rule: &Rule) -> bool {
        self.programs.run(changes(address), &rule.line(&["-C", rule.chain])).await.is_ok()
    }
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

fn changes(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "iptables" } else { "ip6tables" }
}

fn saves(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "iptables-save" } else { "ip6tables-save" }
}

/// Every rule of `iptables-save`'s answer.
fn saved(text: &str) -> FamilyRules {
    let mut table = None;
    let mut rules = Vec::new();
    for line in text.lines() {
        match line.strip_prefix('*') {
            Some(name) => table = Some(name),
            None => rules.extend(appended(table.unwrap_or_default(), line)),
        }
    }
    FamilyRules { rules, listed_tables: table.is_none().then(Vec::new) }
}

/// The rule of a line that appends one.
fn appended(table: &str, line: &str) -> Option<Canonical> {
    let mut words = line.strip_prefix("-A ")?.split(' ');
    let chain = words.next().unwrap_or_default();
    Some(canonical(table, chain, words))
}

/// Options that iptables-save adds say nothing that is not said already: the match that a port
/// belongs to, and the usual answer of REJECT.
fn canonical<'a>(table: &str, chain: &str, mut words: impl Iterator<Item = &'a str>) -> Canonical {
    let mut options = Vec::new();
    while let Some(option) = words.next() {
        let value = words.next().unwrap_or_default();
        let is_usual = match option {
            "-m" => value == "tcp",
            "--reject-with" => value.ends_with("-port-unreachable"),
            _ => false,
        };
        if !is_usual {
            let value = value.strip_suffix("/32").or(value.strip_suffix("/128")).unwrap_or(value);
            options.push((option.to_owned(), value.to_owned()));
        }
    }
    options.sort();
    Canonical { table: table.to_owned(), chain: chain.to_owned(), options }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A firewall in memory that keeps the lines it was asked.
    #[derive(Default)]
    pub(crate) struct Fake {
        pub(crate) asked: Mutex<Vec<String>>,
        /// What iptables-save prints, by family.
        pub(crate) rules: Mutex<[String; 2]>,
        /// What `-C` answers.
        pub(crate) denies: bool,
        /// iptables-save prints nothing, as the older back end's without /proc/net.
        pub(crate) hides_tables: bool,
    }

    impl Fake {
        pub(crate) fn take(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    impl FirewallPrograms for &Fake {
        async fn run(&self, program: &'static str, arguments: &[&str]) -> Result<String, String> {
            self.asked.lock().unwrap().push([&[program], arguments].concat().join(" "));
            let family = usize::from(program.starts_with("ip6"));
            let mut rules = self.rules.lock().unwrap();
            if program.ends_with("-save") {
                return Ok(if self.hides_tables { String::new() } else { rules[family].clone() });
            }
            match arguments[3] {
                "-S" => Ok(listing(&rules[family], arguments[2])),
                "-C" if self.denies => Err("no such rule".to_owned()),
                "-C" => Ok(String::new()),
                "-I" => {
                    let (table, chain) = (arguments[2], arguments[4]);
                    let words = arguments[6..].join(" ");
                    let first = format!("*{table}\n-A {chain} {words}\nCOMMIT\n");
                    rules[family].insert_str(0, &first);
                    Ok(String::new())
                }
                "-D" => {
                    let gone = format!("-A {} {}\n", arguments[4], arguments[5..].join(" "));
                    rules[family] = rules[family].replace(&gone, "");
                    Ok(String::new())
                }
                other => Err(format!("{other} is not known here")),
            }
        }
    }

    /// What `-S` prints of one table.
    fn listing(saved: &str, table: &str) -> String {
        let mut of_table = false;
        let mut listed = "-P INPUT ACCEPT\n".to_owned();
        for line in saved.lines() {
            match line.strip_prefix('*') {
                Some(name) => of_table = name == table,
                None if of_table && line.starts_with("-A ") => {
                    listed.push_str(line);
                    listed.push('\n');
                }
                None => {}
            }
        }
        listed
    }

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

    /// As iptables 1.8.9 prints them, with either back end.
    const SAVED: [&str; 2] = [
        "# Generated by iptables-save v1.8.9 on Sat Nov 28 19:59:53 2026\n\
         *filter\n\
         :INPUT ACCEPT [12:3456]\n\
         -A INPUT -d 169.254.169.254/32 -i docker0 -j REJECT --reject-with icmp-port-unreachable\n\
         -A INPUT -d 169.254.170.2/32 -i docker0 -p tcp -m tcp --dport 51679 -j ACCEPT\n\
         COMMIT\n\
         *nat\n\
         :PREROUTING ACCEPT [0:0]\n\
         -A PREROUTING -d 169.254.170.2/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 169.254.170.2:51679\n\
         COMMIT\n",
        "*filter\n\
         -A FORWARD -d fd00:ec2::254/128 -i docker0 -j REJECT --reject-with icmp6-port-unreachable\n\
         COMMIT\n",
    ];

    fn rules() -> [(IpAddr, Rule); 4] {
        let to = ["-d", "169.254.170.2", "-p", "tcp", "--dport"];
        let dnat = ["80", "-j", "DNAT", "--to-destination", "169.254.170.2:51679"];
        let rejected = |to| ["-i", "docker0", "-d", to, "-j", "REJECT"];
        let accepted = [&["-i", "docker0"], &to[..], &["51679", "-j", "ACCEPT"]].concat();
        [
            (V4, Rule::new("nat", "PREROUTING", &[&to[..], &dnat[..]].concat())),
            (V4, Rule::new("filter", "INPUT", &accepted)),
            (V4, Rule::new("filter", "INPUT", &rejected("169.254.169.254"))),
            (V6, Rule::new("filter", "FORWARD", &rejected("fd00:ec2::254"))),
        ]
    }

    fn fake(denies: bool, saved: [&str; 2]) -> Fake {
        let rules = Mutex::new(saved.map(str::to_owned));
        Fake { denies, rules, ..Fake::default() }
    }

    #[tokio::test]
    async fn rules_that_are_there_cost_one_process_a_family() {
        let fake = fake(true, SAVED);
        let mut firewall = Firewall::new(&fake);
        for (address, rule) in rules() {
            assert_eq!(firewall.ensure(address, &rule).await, Ok(false), "{rule:?}");
        }
        assert_eq!(fake.take(), ["iptables-save ", "ip6tables-save "].map(str::trim));
    }

    #[tokio::test]
    async fn missing_rules_are_added_once_before_the_others() {
        let fake = fake(true, ["", ""]);
        for missing in [true, false] {
            let mut firewall = Firewall::new(&fake);
            for (address, rule) in rules() {
                assert_eq!(firewall.ensure(address, &rule).await, Ok(missing), "{rule:?}");
                assert_eq!(firewall.ensure(address, &rule).await, Ok(false), "{rule:?}");
            }
        }
        let asked = fake.take();
        let added = asked.iter().filter(|line| line.contains(" -I ")).count();
        // Two answers without a table, of which three are listed: filter twice, and nat.
        assert_eq!((added, asked.len()), (4, 2 + 3 + 4 + 4 + 2), "{asked:#?}");
        let first = "iptables -w -t nat -I PREROUTING 1 -d 169.254.170.2 -p tcp --dport 80 -j DNAT \
                     --to-destination 169.254.170.2:51679";
        assert!(asked.iter().any(|line| line == first), "{asked:#?}");
    }

    #[tokio::test]
    async fn rule_that_is_printed_otherwise_is_not_added_again() {
        let fake = fake(false, ["", ""]);
        let (address, rule) = &rules()[0];
        assert_eq!(Firewall::new(&fake).ensure(*address, rule).await, Ok(false));
        assert!(fake.take().iter().all(|line| !line.contains(" -I ")));
    }

    #[tokio::test]
    async fn rule_of_another_device_or_table_is_another_rule() {
        let fake = fake(true, SAVED);
        let others = [
            Rule::new("filter", "INPUT", &["-i", "br7", "-d", "169.254.169.254", "-j", "REJECT"]),
            Rule::new("nat", "INPUT", &["-i", "docker0", "-d", "169.254.169.254", "-j", "REJECT"]),
        ];
        for other in others {
            assert_eq!(Firewall::new(&fake).ensure(V4, &other).await, Ok(true), "{other:?}");
        }
    }

    /// Rules that are there cost a process of each table and are not asked about one by one; one that
    /// comes too late is seen.
    #[tokio::test]
    async fn rules_are_compared_where_iptables_save_sees_no_table() {
        let fake = Fake { hides_tables: true, ..fake(false, SAVED) };
        let mut firewall = Firewall::new(&fake);
        for (address, rule) in rules() {
            assert_eq!(firewall.ensure(address, &rule).await, Ok(false), "{rule:?}");
        }
        let asked = fake.take();
        let questions = |word| asked.iter().filter(|line| line.contains(word)).count();
        assert_eq!((questions("-save"), questions(" -S"), asked.len()), (2, 3, 5), "{asked:#?}");
        fake.rules.lock().unwrap()[0] = "*filter\n-A INPUT -j DOCKER-INPUT\n\
             -A INPUT -i docker0 -d 169.254.169.254 -j REJECT\n"
            .to_owned();
        let (address, rejected) = &rules()[2];
        for moved in [true, false] {
            assert_eq!(Firewall::new(&fake).ensure(*address, rejected).await, Ok(moved));
        }
        assert_eq!(Firewall::new(&fake).remove(*address, rejected).await, Ok(true));
        assert_eq!(Firewall::new(&fake).remove(*address, rejected).await, Ok(false));
    }

    /// What Docker, a firewall and a second agent put before a rule of ours.
    #[tokio::test]
    async fn rule_behind_one_that_takes_its_packets_is_put_first_again() {
        let own =
            Rule::new("filter", "FORWARD", &["-i", "docker0", "-d", "10.0.0.9", "-j", "REJECT"]);
        for (before, comes_too_late) in [
            ("-A FORWARD -j DOCKER-USER", true),
            ("-A FORWARD -i docker0 ! -o docker0 -j ACCEPT", true),
            ("-A FORWARD -d 10.0.0.0/8 -i docker0 -j ACCEPT", true),
            ("-A FORWARD -d 10.0.0.8/32 -i docker0 -j ACCEPT", false),
            ("-A FORWARD -d 10.0.0.9/32 -i br7 -j ACCEPT", false),
            ("-A INPUT -j DROP", false),
        ] {
            let text = format!(
                "*filter\n{before}\n-A FORWARD -i docker0 -d 10.0.0.9 -j REJECT\n-A FORWARD -j DROP\n"
            );
            let fake = fake(true, [&text, ""]);
            let moved = Firewall::new(&fake).ensure(V4, &own).await;
            assert_eq!(moved, Ok(comes_too_late), "{before}");
            let asked = fake.take();
            assert_eq!(asked.len(), if comes_too_late { 3 } else { 1 }, "{asked:#?}");
            assert_eq!(Firewall::new(&fake).ensure(V4, &own).await, Ok(false), "{before}");
        }
    }

    #[tokio::test]
    async fn rule_is_removed_once_and_an_absent_one_not_at_all() {
        let own =
            Rule::new("filter", "FORWARD", &["-i", "docker0", "-d", "10.0.0.9", "-j", "REJECT"]);
        let text = "*filter\n-A FORWARD -i docker0 -d 10.0.0.9 -j REJECT\n";
        let fake = fake(true, [text, ""]);
        let mut firewall = Firewall::new(&fake);
        assert_eq!(firewall.remove(V4, &own).await, Ok(true));
        assert_eq!(firewall.remove(V4, &own).await, Ok(false));
        let removes = |line: &&String| line.contains(" -D ");
        assert_eq!(fake.take().iter().filter(removes).count(), 1);
    }
}
