//! Files that are taken and files that are refused, each refusal one line that names the place.

use analyzer::stats::permutation::runs_for_level;

use super::*;

const GOOD: &str = "\
name: tiny
study: egress
seed: 7
repetitions: 2
duration: 1m 30s
cases:
  - name: one
    factors: {datapath: netfilter, egress: gateway}
  - name: other
    factors: {datapath: bpf, egress: base, protocol: [tcp, udp], pairs: 99}
quick:
  repetitions: 1
  factors: {protocol: udp}
";

fn read(text: &str, overrides: &Overrides) -> anyhow::Result<Campaign> {
    Campaign::read(Path::new("tiny.yaml"), text, Study::Egress, overrides)
}

#[track_caller]
fn check_refused(text: &str, parts: &[&str]) {
    let error = format!("{:#}", read(text, &Overrides::default()).unwrap_err());
    assert_eq!(error.lines().count(), 1, "{error}");
    for part in ["tiny.yaml: "].iter().chain(parts) {
        assert!(error.contains(part), "`{part}` is not in: {error}");
    }
}

#[test]
fn defaults_are_filled_in_and_lists_make_cases() {
    let campaign = read(GOOD, &Overrides::default()).unwrap();
    assert_eq!(campaign.target, "lab");
    assert_eq!(campaign.duration, Duration::from_secs(90));
    assert_eq!((campaign.repetitions, campaign.attempts), (2, 3));
    assert_eq!(campaign.warm_up, Duration::ZERO);
    let labels: Vec<&str> = campaign
        .cases
        .iter()
        .map(|case| case.label.as_str())
        .collect();
    assert_eq!(labels, ["one", "other-protocol-tcp", "other-protocol-udp"]);
    let of = |factor: &str| campaign.cases[0].factors[factor].as_str();
    assert_eq!((of("protocol"), of("pairs")), ("tcp", "1"));
    let expected = Setting::Egress {
        datapath: Datapath::Bpf,
        gateway: false,
        udp: true,
        pairs: 99,
    };
    assert_eq!(campaign.cases[2].setting, expected);
    assert_eq!(campaign.cases[2].name, "other");
}

#[test]
fn the_quick_form_and_the_command_line_change_what_they_name() {
    let overrides = Overrides {
        quick: true,
        seed: Some(9),
        duration: Some(Duration::from_secs(3)),
        ..Overrides::default()
    };
    let campaign = read(GOOD, &overrides).unwrap();
    let labels: Vec<&str> = campaign
        .cases
        .iter()
        .map(|case| case.label.as_str())
        .collect();
    assert_eq!(labels, ["one", "other"]);
    assert_eq!((campaign.seed, campaign.repetitions), (9, 1));
    assert_eq!(campaign.duration, Duration::from_secs(3));
}

#[test]
fn what_the_file_does_not_know_is_refused_with_its_line() {
    let with = |from: &str, to: &str| GOOD.replace(from, to);
    check_refused(&with("seed: 7", "sead: 7"), &["sead", "line 3"]);
    check_refused(&with("seed: 7\n", ""), &["seed"]);
    check_refused(&with("1m 30s", "90"), &["time `90`", "line 5"]);
    check_refused(
        &with("repetitions: 2", "repetitions: 0"),
        &["line 4", "at least 1"],
    );
    check_refused(
        &with("study: egress", "study: transit"),
        &["transit", "line 2"],
    );
    check_refused(
        &with("bpf, egress", "bqf, egress"),
        &["line 10", "bqf", "netfilter or bpf"],
    );
    check_refused(&with("pairs: 99", "pairs: 100"), &["line 10", "1 to 99"]);
    check_refused(
        &with("pairs: 99", "users: 9"),
        &["line 10", "users", "datapath"],
    );
    check_refused(
        &with("egress: gateway", "pairs: 1"),
        &["line 7", "`egress` is missing"],
    );
    let twice = with("name: other", "name: one").replace("[tcp, udp]", "tcp");
    check_refused(&twice, &["line 9", "a second case one"]);
    check_refused(
        &with("seed: 7", "seed: 7\nprimary: [goodput, speed]"),
        &["line 4", "primary", "no metric \"speed\"", "goodput"],
    );
    check_refused(&with("name: one", "name: a/b"), &["line 7", "a/b"]);
    check_refused(&with("[tcp, udp]", "[]"), &["line 10", "empty list"]);
    check_refused(
        &with("study: egress", "study: ingress"),
        &["line 2", "campaign ingress"],
    );
}

#[test]
fn the_studies_that_are_shipped_are_taken_in_both_forms() {
    for study in [Study::Egress, Study::Ingress] {
        let path = super::super::shipped(study);
        let text = std::fs::read_to_string(&path).unwrap();
        for quick in [false, true] {
            let overrides = Overrides {
                quick,
                ..Overrides::default()
            };
            let campaign = Campaign::read(&path, &text, study, &overrides).unwrap();
            let (cases, pairs) = match (study, quick) {
                (Study::Egress, _) => (4, 4),
                (Study::Ingress, false) => (8, 4),
                (Study::Ingress, true) => (6, 3),
            };
            assert_eq!(campaign.cases.len(), cases);
            // As many runs as the primary metrics' tests need before they can show anything.
            let tests = campaign.primary.len() * pairs;
            assert!(tests > 0, "{study:?} declares nothing");
            let needed = runs_for_level(0.05 / tests as f64).unwrap();
            assert!(
                u64::from(campaign.repetitions) >= needed,
                "{study:?}: {needed}"
            );
            assert_eq!(campaign.repetitions == 8, !quick);
        }
    }
}
