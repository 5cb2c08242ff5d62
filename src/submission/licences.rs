//! The table of licences (`schemas/licences.json`): which ids mean the same, and which permit evaluation and publication.

use serde::Deserialize;
use std::sync::LazyLock;

/// One licence of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Licence {
    /// SPDX id, or the hub's where SPDX has none.
    pub id: String,
    /// Full name.
    pub name: String,
    /// Id on the hub's model cards, where the hub has one.
    pub hub: Option<String>,
    /// Other spellings.
    #[serde(default)]
    pub also: Vec<String>,
    /// Id of the family under which a card may state this licence less precisely.
    pub family: Option<String>,
    /// Anyone may evaluate the model and publish the results.
    pub permits: bool,
    /// Why not, where it does not permit that.
    pub reason: Option<String>,
}

#[derive(Deserialize)]
struct Table {
    licences: Vec<Licence>,
}

/// All licences of the table. A test rules out that the compiled-in file cannot be read.
pub static LICENCES: LazyLock<Vec<Licence>> = LazyLock::new(|| {
    serde_json::from_str::<Table>(include_str!("../../schemas/licences.json")).map(|table| table.licences).unwrap_or_default()
});

/// The licence of an SPDX id, a hub id or another known spelling, without regard to case.
#[must_use]
pub fn find(id: &str) -> Option<&'static Licence> {
    let id = id.trim();
    let is = |other: &str| other.eq_ignore_ascii_case(id);
    LICENCES.iter().find(|licence| is(&licence.id) || licence.hub.as_deref().is_some_and(is) || licence.also.iter().any(|other| is(other)))
}

/// Every id and spelling of the table.
pub(super) fn all_ids() -> Vec<&'static str> {
    LICENCES.iter().flat_map(|licence| std::iter::once(licence.id.as_str()).chain(licence.also.iter().map(String::as_str))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The table reads, no spelling means two licences, families exist, and a refusal has its reason.
    #[test]
    fn the_table_is_consistent() {
        assert!(LICENCES.len() > 60);
        let mut seen = BTreeSet::new();
        for licence in LICENCES.iter() {
            let spellings: BTreeSet<String> =
                [Some(&licence.id), licence.hub.as_ref()].into_iter().flatten().chain(&licence.also).map(|id| id.to_lowercase()).collect();
            for spelling in spellings {
                assert!(seen.insert(spelling.clone()), "{spelling} stands for two licences");
                assert_eq!(find(&spelling), Some(licence));
            }
            assert_eq!(licence.permits, licence.reason.is_none(), "{}", licence.id);
            if let Some(family) = &licence.family {
                assert_eq!(find(family).map(|found| &found.id), Some(family));
            }
        }
    }
}
