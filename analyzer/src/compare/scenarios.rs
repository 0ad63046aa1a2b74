//! Campaigns whose comparison is known beforehand: none, one, two runs, ties, no scatter, an outlier,
//! blocks, factors.

use std::collections::BTreeMap;

use trace_schema::manifest::{RunManifest, RunOutcome};

use super::{
    CompareError, CompareReport, Comparison, Declaration, MetricChoice, Options, Refusal, Role,
    compare,
};
use crate::measurements::{Measurements, Metric, Origin, Quantity, RunMeasurements, Unit};
use crate::stats::holm::holm;
use crate::stats::proportion::Verdict;
use crate::stats::random::Random;

/// A run of a case in a block with a goodput, or without one.
fn run(case: &str, block: u32, goodput: Option<f64>) -> RunMeasurements {
    let id = format!("{case}-{block}");
    let manifest = RunManifest {
        campaign: "egress".into(),
        case: case.into(),
        repetition: block,
        block: Some(block),
        ..RunManifest::new(&id, "iperf3", (0, 10_000_000))
    };
    let mut run = RunMeasurements::of(&manifest);
    let value = goodput.ok_or_else(|| "iperf3 was killed".to_owned());
    run.note(Metric::whole(Quantity::Goodput), value, &Origin::default());
    run
}

fn campaign(cases: &[(&str, &[f64])]) -> Measurements {
    let runs = cases.iter().flat_map(|(case, values)| {
        let values = values.iter().zip(1..);
        values.map(move |(value, block)| run(case, block, Some(*value)))
    });
    Measurements {
        runs: runs.collect(),
        notes: Vec::new(),
    }
}

fn compared(measurements: &Measurements) -> CompareReport {
    compare(measurements, &Options::default()).unwrap()
}

/// The only comparison of the only metric.
fn only(measurements: &Measurements) -> Comparison {
    let mut report = compared(measurements);
    let mut metrics = report.campaigns.remove(0).metrics;
    assert_eq!(metrics.len(), 1);
    let mut comparisons = metrics.remove(0).comparisons;
    assert_eq!(comparisons.len(), 1);
    comparisons.remove(0)
}

const HIGH: [f64; 8] = [
    9.42e9, 9.38e9, 9.45e9, 9.40e9, 9.44e9, 9.37e9, 9.41e9, 9.43e9,
];
const LOW: [f64; 8] = [
    9.02e9, 9.08e9, 9.05e9, 9.01e9, 9.06e9, 9.03e9, 9.04e9, 9.00e9,
];

#[test]
fn a_clear_difference_is_told_with_its_interval() {
    let found = only(&campaign(&[("a", &HIGH), ("b", &LOW)]));
    let figures = found.figures.as_ref().unwrap();
    assert!(figures.permutation.exact);
    assert_eq!(figures.permutation.p_value, 2.0 / 12_870.0);
    assert_eq!(figures.p_holm, Some(2.0 / 12_870.0));
    assert_eq!(figures.cliffs_delta, 1.0);
    assert_eq!(
        found.sentence,
        "a's goodput was 4.16 % higher than b's (95 % interval 3.83 to 4.5 %, p < 0.001, n = 8 + 8); it lies within ±5 % all the same."
    );
    let turned = only(&campaign(&[("a", &LOW), ("b", &HIGH)]));
    assert!(
        turned
            .sentence
            .starts_with("a's goodput was 4 % lower than b's (95 % interval 3.69 to 4.3 %"),
        "{}",
        turned.sentence
    );
}

#[test]
fn no_difference_is_not_equivalence_unless_it_is_shown() {
    let alike: Vec<f64> = HIGH.iter().rev().map(|value| value + 1e6).collect();
    let found = only(&campaign(&[("a", &HIGH), ("b", &alike)]));
    let verdict = found.figures.as_ref().unwrap().equivalence.unwrap().verdict;
    assert_eq!(verdict, Verdict::Equivalent);
    assert!(
        found.sentence.starts_with(
            "No difference in goodput was shown between a and b: the first's was between 0."
        ) && found
            .sentence
            .ends_with("n = 8 + 8); equivalent within ±5 %."),
        "{}",
        found.sentence
    );
    let wide = [1e9, 9e9, 4e9, 7e9];
    let found = only(&campaign(&[("a", &wide), ("b", &[2e9, 8e9, 5e9, 3e9])]));
    assert!(
        found
            .sentence
            .contains("not shown to be equivalent within ±5 % either: about"),
        "{}",
        found.sentence
    );
    assert!(found.runs_needed.unwrap() > 100);
}

#[test]
fn too_few_runs_are_refused_with_the_number_that_is_needed() {
    for (first, second) in [(2, 8), (1, 8), (1, 1), (2, 2)] {
        let found = only(&campaign(&[("a", &HIGH[..first]), ("b", &LOW[..second])]));
        assert_eq!(found.refused, Some(Refusal::TooFewRuns));
        assert_eq!((found.n, found.figures.is_none()), ((first, second), true));
        let says = format!("n = {first} + {second}; at least 3 a case are needed");
        assert!(found.sentence.contains(&says), "{}", found.sentence);
        let plans = found.sentence.contains("about") && found.runs_needed.is_some();
        assert_eq!(plans, first > 1 && second > 1, "{}", found.sentence);
    }
}

#[test]
fn no_run_and_no_value_are_errors_of_one_line() {
    let refused = |measurements: &Measurements, options: &Options| {
        let error = compare(measurements, options).unwrap_err();
        assert!(!error.to_string().contains('\n'));
        error
    };
    let none = refused(&Measurements::default(), &Options::default());
    assert_eq!(none, CompareError::NoRuns);
    let empty = Measurements {
        runs: vec![run("a", 1, None)],
        notes: Vec::new(),
    };
    let nothing = refused(&empty, &Options::default());
    assert!(
        nothing.to_string().contains("iperf3 was killed"),
        "{nothing}"
    );
    let some = campaign(&[("a", &HIGH)]);
    let baseline = Options {
        baseline: Some("z".into()),
        ..Options::default()
    };
    assert_eq!(
        refused(&some, &baseline).to_string(),
        "--baseline z: no run is of that case; there is a"
    );
    let metric = Options {
        metrics: vec![MetricChoice::One(Metric::whole(Quantity::Memory))],
        ..Options::default()
    };
    assert_eq!(
        refused(&some, &metric).to_string(),
        "--metric memory: no run measured it; there is goodput"
    );
    let other = Options {
        campaign: Some("ingress".into()),
        ..Options::default()
    };
    assert!(refused(&some, &other).to_string().contains("has egress"));
}

#[test]
fn runs_without_a_value_and_failed_runs_are_listed_and_not_used() {
    let mut measurements = campaign(&[("a", &HIGH), ("b", &LOW)]);
    measurements.runs.push(run("a", 9, None));
    let mut failed = run("b", 9, Some(1.0));
    failed.outcome = RunOutcome::Failed;
    failed.failure = Some("the server died".into());
    measurements.runs.push(failed);
    let report = compared(&measurements);
    let metric = &report.campaigns[0].metrics[0];
    assert_eq!(metric.comparisons[0].n, (8, 8));
    assert_eq!(metric.cases[0].absent[0].run, "a-9");
    assert_eq!(metric.cases[0].absent[0].because, "iperf3 was killed");
    assert_eq!(report.failed_runs.len(), 1);
    assert_eq!(report.failed_runs[0].because, "the server died");
}

#[test]
fn equal_runs_leave_nothing_to_test_and_do_not_count_in_the_family() {
    let found = only(&campaign(&[("a", &[0.0; 5]), ("b", &[0.0; 5])]));
    assert_eq!(found.figures.as_ref().unwrap().p_holm, None);
    assert_eq!(
        found.sentence,
        "Every run of a and b had the same goodput, n = 5 + 5: there is nothing to test."
    );
    let report = compared(&campaign(&[("a", &[7.0; 5]), ("b", &[7.0; 5])]));
    assert_eq!(report.campaigns[0].families[0].tests, 0);
    // Without scatter within the cases there is no interval, but the test stands.
    let apart = only(&campaign(&[("a", &[8.0; 5]), ("b", &[7.0; 5])]));
    assert_eq!(apart.figures.as_ref().unwrap().p_holm, Some(2.0 / 252.0));
    assert!(
        apart.sentence.starts_with("a's goodput was 14.3 % higher than b's (no run differs from another of its case, p = 0.008, n = 5 + 5)"),
        "{}",
        apart.sentence
    );
    let ties = only(&campaign(&[
        ("a", &[1.0, 2.0, 2.0, 3.0]),
        ("b", &[2.0, 2.0, 3.0, 3.0]),
    ]));
    assert!(ties.figures.unwrap().mann_whitney.unwrap().ties);
}

#[test]
fn zero_in_one_case_has_a_difference_and_no_ratio() {
    let found = only(&campaign(&[
        ("a", &[3.0, 4.0, 5.0, 4.0, 6.0]),
        ("b", &[0.0; 5]),
    ]));
    let figures = found.figures.as_ref().unwrap();
    assert!(figures.ratio.is_none() && figures.equivalence.is_none());
    assert!(
        found
            .sentence
            .starts_with("a's goodput was 4.4 bit/s higher than b's (95 % interval"),
        "{}",
        found.sentence
    );
}

#[test]
fn an_outlier_is_flagged_and_results_are_shown_with_and_without() {
    let mut high = HIGH;
    high[3] = 6e9;
    let found = only(&campaign(&[("a", &high), ("b", &LOW)]));
    assert_eq!(found.flagged, ["a-4"]);
    let (with, without) = (found.figures.unwrap(), found.without_flagged.unwrap());
    assert!(with.difference.estimate.value < without.difference.estimate.value);
    assert!(without.p_holm.unwrap() < with.p_holm.unwrap());
    assert!(
        found
            .sentence
            .contains("; without a-4, which lies far from its case's other runs, it was between"),
        "{}",
        found.sentence
    );
}

#[test]
fn blocks_stand_beside_the_comparison_where_they_are_complete() {
    // Blocks differ far more than cases do: only within them the difference shows.
    let first: Vec<f64> = (1..=8).map(|block| 1e9 * f64::from(block) + 4e7).collect();
    let second: Vec<f64> = (1..=8)
        .map(|block| 1e9 * f64::from(block) + 1e6 * f64::from(block % 3))
        .collect();
    let measurements = campaign(&[("a", &first), ("b", &second)]);
    let found = only(&measurements);
    let blocks = found.within_blocks.as_ref().unwrap();
    assert_eq!(blocks.blocks, 8);
    assert_eq!(blocks.paired.sign_flip.p_value, 2.0 / 256.0);
    assert_eq!(blocks.p_holm, 2.0 / 256.0);
    assert!(blocks.paired.correlation.unwrap() > 0.99);
    // The sentence keeps to what was fixed beforehand.
    assert!(
        found.sentence.starts_with("No difference"),
        "{}",
        found.sentence
    );
    let fewer = campaign(&[("a", &first), ("b", &second[..7])]);
    assert_eq!(only(&fewer).within_blocks, None);
}

/// A run of a case with factors.
fn with_factors(case: &str, factors: &[(&str, &str)], block: u32) -> RunMeasurements {
    let mut run = run(case, block, Some(f64::from(block) + case.len() as f64));
    run.run = format!("{case}-{factors:?}-{block}");
    let factors = factors
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    run.factors = factors.collect::<BTreeMap<_, _>>();
    run
}

fn pairs_of(cases: &[(&str, &[(&str, &str)])], options: &Options) -> Vec<String> {
    let runs = cases
        .iter()
        .flat_map(|(case, factors)| (1..=4).map(move |block| with_factors(case, factors, block)));
    let measurements = Measurements {
        runs: runs.collect(),
        notes: Vec::new(),
    };
    let report = compare(&measurements, options).unwrap();
    let comparisons = report.campaigns[0].metrics[0].comparisons.iter();
    comparisons
        .map(|pair| format!("{} / {}", pair.first, pair.second))
        .collect()
}

#[test]
fn neighbours_at_the_same_load_are_compared() {
    let study: [(&str, &[(&str, &str)]); 4] = [
        ("bpf-base", &[("datapath", "bpf"), ("egress", "base")]),
        ("bpf-gateway", &[("datapath", "bpf"), ("egress", "gateway")]),
        (
            "netfilter-base",
            &[("datapath", "netfilter"), ("egress", "base")],
        ),
        (
            "netfilter-gateway",
            &[("datapath", "netfilter"), ("egress", "gateway")],
        ),
    ];
    assert_eq!(
        pairs_of(&study, &Options::default()),
        [
            "bpf-base / bpf-gateway",
            "bpf-base / netfilter-base",
            "bpf-gateway / netfilter-gateway",
            "netfilter-base / netfilter-gateway",
        ]
    );
    let based = Options {
        baseline: Some("bpf-base".into()),
        ..Options::default()
    };
    assert_eq!(
        pairs_of(&study, &based),
        [
            "bpf-gateway / bpf-base",
            "netfilter-base / bpf-base",
            "netfilter-gateway / bpf-base"
        ]
    );
    let ingress: [(&str, &[(&str, &str)]); 4] = [
        (
            "envoy",
            &[("cni", "cilium"), ("gateway", "cilium"), ("users", "10")],
        ),
        (
            "envoy",
            &[("cni", "cilium"), ("gateway", "cilium"), ("users", "9")],
        ),
        (
            "nginx",
            &[("cni", "antrea"), ("gateway", "ngf"), ("users", "10")],
        ),
        (
            "nginx",
            &[("cni", "antrea"), ("gateway", "ngf"), ("users", "9")],
        ),
    ];
    assert_eq!(
        pairs_of(&ingress, &Options::default()),
        [
            "envoy (users=9) / nginx (users=9)",
            "envoy (users=10) / nginx (users=10)"
        ]
    );
    let named = Options {
        cases: vec!["envoy (users=9)".into(), "envoy (users=10)".into()],
        ..Options::default()
    };
    assert_eq!(
        pairs_of(&ingress, &named),
        ["envoy (users=9) / envoy (users=10)"]
    );
}

#[test]
fn p_values_are_adjusted_over_all_pairs_and_metrics() {
    let mut random = Random::new(5);
    let mut draw = || random.below(1_000) as f64 + 1.0;
    let mut measurements = campaign(&[
        ("a", &[0.0; 6].map(|_| draw())),
        ("b", &[0.0; 6].map(|_| draw())),
        ("c", &[0.0; 6].map(|_| draw())),
    ]);
    for run in &mut measurements.runs {
        let metric = Metric::whole(Quantity::RttMean);
        run.note(metric, Ok(draw()), &Origin::default());
    }
    let report = compared(&measurements);
    let campaign = &report.campaigns[0];
    let [family] = campaign.families.as_slice() else {
        panic!("nothing was declared: {:?}", campaign.families);
    };
    assert_eq!(
        (family.role, family.tests, campaign.metrics.len()),
        (Role::All, 6, 2)
    );
    assert_eq!(family.least_p_holm, Some(6.0 * 2.0 / 924.0));
    let comparisons = campaign
        .metrics
        .iter()
        .flat_map(|metric| &metric.comparisons);
    let figures = comparisons.map(|one| one.figures.as_ref().unwrap());
    let (plain, adjusted): (Vec<f64>, Vec<f64>) = figures
        .map(|figures| (figures.permutation.p_value, figures.p_holm.unwrap()))
        .unzip();
    assert_eq!(holm(&plain).unwrap(), adjusted);
    assert!(plain != adjusted);
}

#[test]
fn a_family_too_large_for_the_runs_is_said_to_be_so() {
    let three = campaign(&[("a", &HIGH[..3]), ("b", &LOW[..3])]);
    let report = compared(&three);
    let notes = &report.campaigns[0].notes;
    assert!(
        notes
            .iter()
            .any(|note| note.contains("0.10 after Holm. To have a chance, run each case 4 times")),
        "{notes:?}"
    );
    let sentence = &report.campaigns[0].metrics[0].comparisons[0].sentence;
    assert!(
        sentence.starts_with("a's goodput measured 4.05 % higher than b's (95 % interval ")
            && sentence.contains("p = 0.10, n = 3 + 3), but such runs cannot show a difference: the smallest p that they could give is 0.10, and 4 runs a case are needed before they can"),
        "{sentence}"
    );
    let eight = compared(&campaign(&[("a", &HIGH), ("b", &LOW)]));
    assert_eq!(eight.campaigns[0].notes, Vec::<String>::new());
}

/// Two cases that differ by some times, by several metrics that all say the same.
fn by_many_metrics(first: &[f64], second: &[f64], quantities: &[Quantity]) -> Measurements {
    let mut measurements = campaign(&[("a", first), ("b", second)]);
    for run in &mut measurements.runs {
        let value = run.value(&Metric::whole(Quantity::Goodput)).unwrap();
        for quantity in quantities {
            run.note(Metric::whole(*quantity), Ok(value), &Origin::default());
        }
    }
    measurements
}

const OTHERS: [Quantity; 3] = [Quantity::RttMean, Quantity::RttP99, Quantity::Memory];

#[test]
fn a_sentence_does_not_contradict_its_interval_where_the_family_is_too_large() {
    let (first, second) = ([26.0, 26.5, 25.5, 26.2], [10.0, 10.2, 9.8, 10.1]);
    let report = compared(&by_many_metrics(&first, &second, &OTHERS));
    let found = &report.campaigns[0].metrics[0].comparisons[0];
    let figures = found.figures.as_ref().unwrap();
    // Even the farthest of 70 splits is one of two, in a family of four.
    assert_eq!(figures.least_p_holm, Some(4.0 * 2.0 / 70.0));
    assert_eq!(figures.least_p_holm, figures.p_holm);
    assert_eq!(
        found.sentence,
        "a's goodput measured 2.6 times b's (95 % interval 2.52 to 2.67 times, p = 0.029, n = 4 + 4), but such runs cannot show a difference: the smallest p that they could give is 0.029, 0.11 after Holm over 4 tests, and 5 runs a case are needed before they can."
    );
    // With the runs that it names the same difference is shown.
    let (first, second) = ([26.0, 26.5, 25.5, 26.2, 25.9], [10.0, 10.2, 9.8, 10.1, 9.9]);
    let report = compared(&by_many_metrics(&first, &second, &OTHERS));
    let found = &report.campaigns[0].metrics[0].comparisons[0];
    assert!(
        found
            .sentence
            .starts_with("a's goodput was 2.6 times b's (95 % interval")
            && found
                .sentence
                .ends_with("p = 0.032 after Holm over 4 tests, n = 5 + 5)."),
        "{}",
        found.sentence
    );
    assert_eq!(report.campaigns[0].notes, Vec::<String>::new());
}

#[test]
fn an_interval_beside_zero_is_told_though_the_family_shows_nothing() {
    let first = [10.4, 10.9, 10.2, 11.0, 10.6, 10.1, 10.8, 10.3];
    let second = [10.0, 10.5, 9.8, 10.6, 10.2, 9.7, 10.4, 10.25];
    let report = compared(&by_many_metrics(&first, &second, &OTHERS));
    let found = &report.campaigns[0].metrics[0].comparisons[0];
    let figures = found.figures.as_ref().unwrap();
    assert!(figures.difference.estimate.interval.low > 0.0);
    assert!(figures.p_holm.unwrap() > 0.05 && figures.least_p_holm.unwrap() < 0.001);
    assert!(
        found.sentence.contains("higher than b's (95 % interval")
            && found
                .sentence
                .contains("; that shows no difference among 4 tests (p = "),
        "{}",
        found.sentence
    );
}

#[test]
fn metrics_that_the_plan_declared_are_a_family_of_their_own() {
    let (first, second) = ([26.0, 26.5, 25.5, 26.2, 25.9], [10.0, 10.2, 9.8, 10.1, 9.9]);
    let others = [
        OTHERS.as_slice(),
        &[Quantity::UdpJitter, Quantity::WaitingP50],
    ]
    .concat();
    let measurements = by_many_metrics(&first, &second, &others);
    let declaring = |campaign: &str, names: &[&str]| Options {
        declared: Some(Declaration {
            campaign: campaign.into(),
            primary: names.iter().map(|name| name.parse().unwrap()).collect(),
        }),
        ..Options::default()
    };
    let found = |options: &Options| compare(&measurements, options).unwrap().campaigns.remove(0);
    let declared = found(&declaring("egress", &["memory", "udp_loss"]));
    let families = declared.families.iter();
    let families: Vec<_> = families.map(|one| (one.role, one.tests)).collect();
    assert_eq!(families, [(Role::Primary, 1), (Role::Secondary, 5)]);
    assert_eq!(declared.metrics[0].metric, Metric::whole(Quantity::Memory));
    let p_holm = |place: usize| {
        let comparison = &declared.metrics[place].comparisons[0];
        comparison.figures.as_ref().unwrap().p_holm.unwrap()
    };
    assert_eq!((p_holm(0), p_holm(1)), (2.0 / 252.0, 5.0 * 2.0 / 252.0));
    assert!(
        declared
            .notes
            .contains(&"udp_loss was declared primary and no run measured it".to_owned()),
        "{:?}",
        declared.notes
    );
    let sentence = &declared.metrics[1].comparisons[0].sentence;
    assert!(
        sentence.contains("after Holm over 5 secondary tests"),
        "{sentence}"
    );
    // Another campaign's plan declares nothing here, and who asks by name has one family.
    assert_eq!(found(&declaring("ingress", &["memory"])).families.len(), 1);
    let asked = Options {
        metrics: vec!["memory".parse().unwrap(), "goodput".parse().unwrap()],
        ..declaring("egress", &["memory"])
    };
    assert_eq!(found(&asked).families[0].role, Role::All);
}

#[test]
fn cycles_are_compared_with_their_like_and_named_by_what_counted_them() {
    let cycles = |unit: &dyn Fn(&RunMeasurements) -> Unit| {
        let mut measurements = campaign(&[("a", &HIGH), ("b", &LOW)]);
        for run in &mut measurements.runs {
            let metric = Metric::whole(Quantity::CyclesPerPacket);
            let (value, unit) = (f64::from(run.repetition) + 4_000.0, unit(run));
            run.note_in(metric, unit, Ok(value), &Origin::default());
        }
        let mut metrics = compared(&measurements).campaigns.remove(0).metrics;
        metrics.remove(1)
    };
    let reference = cycles(&|_| Unit::ReferenceCyclesPerPacket);
    assert_eq!(
        reference.words,
        "reference cycles per packet at the uplinks"
    );
    assert_eq!(reference.unit, Unit::ReferenceCyclesPerPacket);
    let sentence = &reference.comparisons[0].sentence;
    assert!(
        sentence.contains("No difference in reference cycles per packet at the uplinks"),
        "{sentence}"
    );
    let by_case = cycles(&|run| match run.case.as_str() {
        "a" => Unit::CyclesPerPacket,
        _ => Unit::ReferenceCyclesPerPacket,
    });
    let mixed = cycles(&|run| match run.repetition {
        3 => Unit::CyclesPerPacket,
        _ => Unit::ReferenceCyclesPerPacket,
    });
    for metric in [by_case, mixed] {
        let refused = &metric.comparisons[0];
        assert_eq!(refused.refused, Some(Refusal::UnlikeUnits));
        assert!(
            refused.sentence.contains("did not all count the same"),
            "{}",
            refused.sentence
        );
    }
}
