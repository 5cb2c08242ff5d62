//! What the suites take of real data sets.

use crate::data::hub;
use slm_benchmark::benchmark::suites::Suite;
use slm_benchmark::benchmark::{BuildOptions, Built, Subset, build, registry};
use slm_benchmark::hub::{Hub, HubConfig};
use std::collections::{BTreeMap, BTreeSet};

/// The standard suite's part of BBQ holds a tenth, rounded up, of each category × context × polarity, asks these documents as the whole set
/// does, and contains the quick suite's part.
#[test]
fn the_part_of_bbq_keeps_the_shares_of_the_whole() {
    let hub = Hub::new(&HubConfig::offline(hub())).unwrap();
    let split = hub.dataset_split("oskarvanderwal/bbq", Some("All"), "test", None).unwrap();
    let (task, full) = (registry::task("bbq").unwrap(), registry::task("bbq_full").unwrap());
    let subset_of = |suite: &str| Suite::named(suite).unwrap().tasks().find(|task| task.name == "bbq").unwrap().documents;
    let asked = |subset: Option<Subset>| -> Built {
        build(task.as_ref(), split.rows.clone(), vec![], &BuildOptions { subset, ..Default::default() }).unwrap()
    };
    let (standard, quick) = (asked(subset_of("standard")), asked(subset_of("quick")));
    let whole = build(full.as_ref(), split.rows.clone(), vec![], &BuildOptions::default()).unwrap();
    assert_eq!((whole.n_total, standard.n_total), (split.rows.len(), standard.instances.len()));
    let sizes = |built: &Built| -> BTreeMap<String, usize> {
        let mut sizes = BTreeMap::new();
        for instance in &built.instances {
            *sizes.entry(task.stratum(&instance.doc).unwrap()).or_default() += 1;
        }
        sizes
    };
    let expected: BTreeMap<String, usize> = sizes(&whole).into_iter().map(|(stratum, size)| (stratum, size.div_ceil(10))).collect();
    assert_eq!(sizes(&standard), expected);
    for instance in &standard.instances {
        let same = &whole.instances[instance.doc_id];
        assert_eq!((&instance.doc_hash, &instance.requests), (&same.doc_hash, &same.requests));
    }
    let taken: BTreeSet<usize> = standard.instances.iter().map(|instance| instance.doc_id).collect();
    assert_eq!(quick.instances.len(), 200);
    assert!(quick.instances.iter().all(|instance| taken.contains(&instance.doc_id)));
    println!("bbq: {} of {} documents in {} strata", standard.instances.len(), whole.n_total, expected.len());
}
