//! What the results comment says about a model that was evaluated before.

use crate::synthetic::Recipe;
use slm_benchmark::bot::{Links, results};

/// The change against the previous revision stands beside each score, and only runs that answered the same questions are compared.
#[test]
fn results_show_the_change() {
    let old = Recipe::new("octo-org/small", 0.1);
    let mut older = old.clone();
    older.revision = "1".repeat(40);
    older.day = 3;
    let mut quick = old.clone();
    quick.revision = "2".repeat(40);
    quick.suite = "quick";
    quick.day = 11;
    let mut new = Recipe::new("octo-org/small", 0.4);
    new.revision = "b".repeat(40);
    new.day = 20;
    let links = Links {
        commit: Some("https://github.com/octo-org/leaderboard/commit/c0ffee".to_owned()),
        run: Some("https://github.com/octo-org/leaderboard/tree/main/results/raw/octo-org--small".to_owned()),
        page: Some("https://bench.example.org/model.html?id=octo-org--small".to_owned()),
        release: None,
    };
    let known = [older.summary(), old.summary(), quick.summary(), new.summary()];
    let text = results(&[new.run()], &known, Some("3 of 12 (the 95 % intervals leave open 2 to 5)"), &links);
    insta::assert_snapshot!(text);
    assert!(text.contains(&format!("Change against commit `{}`", &old.revision[..12])));

    let first = results(&[new.run()], &[quick.summary(), new.summary()], None, &links);
    assert!(!first.contains("change |"), "{first}");
}
