//! Few-shot examples: which rows stand before which document.

use super::python::sample_indices;
use super::{Document, Sampler};
use crate::statistics::PythonRandom;

/// Draws examples document by document, from one random stream.
pub(super) struct ExampleDraw<'a> {
    sampler: Sampler,
    count: usize,
    pool: &'a [Document],
    random: PythonRandom,
}

impl<'a> ExampleDraw<'a> {
    pub(super) fn new(sampler: Sampler, count: usize, pool: &'a [Document], seed: u64) -> Self {
        Self { sampler, count, pool, random: PythonRandom::new(seed) }
    }

    /// Pool indices of the examples of the next document. Must be called for every document in order, evaluated or not:
    /// the stream depends on it.
    pub(super) fn next(&mut self, document: &Document) -> Result<Vec<usize>, String> {
        if self.count == 0 {
            return Ok(Vec::new());
        }
        let too_few = |needed: usize| {
            format!(
                "{} few-shot examples need {needed} rows to draw from, but there are {}; ask for fewer with --num-fewshot",
                self.count,
                self.pool.len()
            )
        };
        match self.sampler {
            Sampler::First if self.count > self.pool.len() => Err(too_few(self.count)),
            Sampler::First => Ok((0..self.count).collect()),
            Sampler::Random => sample_indices(&mut self.random, self.pool.len(), self.count).ok_or_else(|| too_few(self.count)),
            Sampler::RandomWithoutEvaluated => {
                let drawn = sample_indices(&mut self.random, self.pool.len(), self.count + 1).ok_or_else(|| too_few(self.count + 1))?;
                let kept: Vec<usize> = drawn.into_iter().filter(|index| self.pool[*index] != *document).take(self.count).collect();
                if kept.len() == self.count {
                    return Ok(kept);
                }
                // Several copies of the document were drawn: the reference draws again from the pool without them.
                let others: Vec<usize> = (0..self.pool.len()).filter(|index| self.pool[*index] != *document).collect();
                let again = sample_indices(&mut self.random, others.len(), self.count).ok_or_else(|| too_few(self.count + 1))?;
                Ok(again.into_iter().map(|position| others[position]).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn row(number: usize) -> Document {
        json!({ "q": number }).as_object().unwrap().clone()
    }

    /// Winogrande at 5 shots: six are drawn, five kept.
    #[test]
    fn one_more_is_drawn_where_the_document_may_be_among_them() {
        let pool: Vec<Document> = (0..40398).map(row).collect();
        let mut draw = ExampleDraw::new(Sampler::RandomWithoutEvaluated, 5, &pool, 1234);
        assert_eq!(draw.next(&row(99_999)).unwrap(), [28883, 7657, 490, 5940, 38156]);
        assert_eq!(draw.next(&row(99_999)).unwrap(), [5500, 6450, 23241, 15519, 1142]);
        let mut draw = ExampleDraw::new(Sampler::RandomWithoutEvaluated, 5, &pool, 1234);
        assert_eq!(draw.next(&row(490)).unwrap(), [28883, 7657, 5940, 38156, 2288], "the document itself is dropped");
    }

    #[test]
    fn too_small_a_pool_is_refused_in_words() {
        let pool = vec![row(1), row(2)];
        let error = ExampleDraw::new(Sampler::RandomWithoutEvaluated, 2, &pool, 1234).next(&row(9)).unwrap_err();
        assert_eq!(error, "2 few-shot examples need 3 rows to draw from, but there are 2; ask for fewer with --num-fewshot");
        assert!(ExampleDraw::new(Sampler::First, 3, &pool, 1234).next(&row(9)).is_err());
    }

    proptest! {
        #[test]
        fn examples_are_distinct_and_never_the_document(size in 3usize..60, count in 1usize..8, copies in 1usize..4, seed in 0u64..50) {
            prop_assume!(size > count + copies);
            let pool: Vec<Document> = (0..size).map(|index| row(if index < copies { 0 } else { index })).collect();
            let mut draw = ExampleDraw::new(Sampler::RandomWithoutEvaluated, count, &pool, seed);
            for _ in 0..5 {
                let mut drawn = draw.next(&row(0)).unwrap();
                prop_assert_eq!(drawn.len(), count);
                prop_assert!(drawn.iter().all(|index| *index >= copies && *index < size));
                drawn.sort_unstable();
                drawn.dedup();
                prop_assert_eq!(drawn.len(), count);
            }
        }
    }
}
