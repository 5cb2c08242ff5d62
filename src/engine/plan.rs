//! The order in which requests are computed, so that no shared prefix is computed twice.
//!
//! The inputs of all requests form a tree of token prefixes. Walking it depth first, with one line of cached keys and values that is
//! rewound to where the next input branches off, feeds each node of the tree exactly once. Sorted inputs come in that order, and the
//! branching point is the longest common prefix of neighbours; so a plan is a sort, and no tree is built. Each pass feeds the rest of one
//! input after the branching point; inputs that are prefixes of it are answered by the same pass.
//!
//! Bounds: a plan feeds as many tokens as there are distinct prefixes, no more, in at most one pass per distinct input. It keeps the
//! requests' tokens and, for each scored token, 16 bytes. A running plan needs the keys and values of one input, whatever the number of
//! requests.
//!
//! A plan is a function of all the requests of a call. Those that need no answer any more only make whole passes superfluous; passes that
//! remain are the same, token by token, so that a resumed run gives the same bits.

use super::TokenId;
use super::tokenizer::ScoredTokens;
use std::collections::HashMap;
use std::ops::Range;

/// A log-probability to read off while a pass is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Row (place in the input) whose logits are read; it lies in the pass's own `fed` range.
    pub row: usize,
    /// The token whose log-probability is wanted.
    pub target: TokenId,
    /// Where the value goes: an index below [`Plan::readings`].
    pub slot: usize,
}

/// One forward pass: the tokens of an input after what is shared with earlier passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Index of the request whose input is fed.
    pub request: usize,
    /// Rows of that input that are fed; the rows before are shared with earlier passes.
    pub fed: Range<usize>,
    /// The pass that computed the row before `fed`; `None` where nothing is shared.
    pub parent: Option<usize>,
    /// What is read off, by row.
    pub readings: Vec<Reading>,
    /// Requests whose readings are complete after this pass, in their own order.
    pub completes: Vec<usize>,
}

/// Which prefixes may be taken over from earlier passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// Prefixes with fewer tokens are computed again.
    pub least: usize,
    /// Inputs with more tokens share nothing: the model's cache cannot be rewound that far.
    pub longest: usize,
}

/// The passes that answer a set of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The passes in the order in which they are computed.
    pub passes: Vec<Pass>,
    /// For each request, the range of slots that its readings fill, in the order of its targets. Identical requests have the same.
    pub slots: Vec<Range<usize>>,
    /// Number of slots.
    pub readings: usize,
}

impl Plan {
    /// Plans the requests.
    #[must_use]
    pub fn new(requests: &[ScoredTokens], sharing: Sharing) -> Self {
        let mut plan = Self::default();
        let order = plan.assign_slots(requests);
        // Owner of each row of the current path: the passes by where they begin, innermost last.
        let mut path: Vec<(usize, usize)> = Vec::new();
        let mut from = 0;
        let mut previous: Option<usize> = None;
        while from < order.len() {
            let group = pass_members(requests, &order[from..], sharing.longest);
            let last = order[from + group - 1].clone();
            let input = &requests[last[0]].input;
            let shared = match previous {
                Some(previous) if input.len() <= sharing.longest => common_prefix(&requests[previous].input, input),
                _ => 0,
            };
            let shared = if shared < sharing.least { 0 } else { shared };
            while path.last().is_some_and(|&(begins, _)| begins >= shared) {
                path.pop();
            }
            let parent = path.last().map(|&(_, pass)| pass);
            let number = plan.passes.len();
            plan.passes.push(Pass { request: last[0], fed: shared..input.len(), parent, readings: Vec::new(), completes: Vec::new() });
            path.push((shared, number));
            for same in &order[from..from + group] {
                plan.place(requests, same, &path);
            }
            let pass = &mut plan.passes[number];
            pass.completes.sort_unstable();
            previous = (input.len() <= sharing.longest).then_some(last[0]);
            if previous.is_none() {
                path.clear();
            }
            from += group;
        }
        for pass in &mut plan.passes {
            pass.readings.sort_unstable_by_key(|reading| (reading.row, reading.slot));
        }
        plan
    }

    /// Gives each distinct request its slots, and lists the groups of identical requests in the order of their inputs.
    fn assign_slots(&mut self, requests: &[ScoredTokens]) -> Vec<Vec<usize>> {
        let mut groups: HashMap<&ScoredTokens, usize> = HashMap::with_capacity(requests.len());
        let mut order: Vec<Vec<usize>> = Vec::new();
        for (index, request) in requests.iter().enumerate() {
            let group = *groups.entry(request).or_insert_with(|| {
                order.push(Vec::new());
                order.len() - 1
            });
            if let Some(&first) = order[group].first() {
                let slots: Range<usize> = self.slots[first].clone();
                self.slots.push(slots);
            } else {
                self.slots.push(self.readings..self.readings + request.targets.len());
                self.readings += request.targets.len();
            }
            order[group].push(index);
        }
        order.sort_by(|left, right| {
            let (left, right) = (&requests[left[0]], &requests[right[0]]);
            left.input.cmp(&right.input).then_with(|| left.targets.cmp(&right.targets))
        });
        order
    }

    /// Gives the readings of a request to the passes that compute its rows; the request is complete with the last of them.
    fn place(&mut self, requests: &[ScoredTokens], same: &[usize], path: &[(usize, usize)]) {
        let request = &requests[same[0]];
        let first_slot = self.slots[same[0]].start;
        for (offset, &target) in request.targets.iter().enumerate() {
            let row = request.first_row() + offset;
            let owner = path.partition_point(|&(begins, _)| begins <= row) - 1;
            self.passes[path[owner].1].readings.push(Reading { row, target, slot: first_slot + offset });
        }
        if let Some(&(_, pass)) = path.last() {
            self.passes[pass].completes.extend_from_slice(same);
        }
    }

    /// Tokens that the whole plan feeds.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.passes.iter().map(|pass| pass.fed.len()).sum()
    }

    /// Longest prefix that a pass takes over from earlier ones.
    #[must_use]
    pub fn longest_shared(&self) -> usize {
        self.passes.iter().map(|pass| pass.fed.start).max().unwrap_or(0)
    }

    /// Which passes are still needed where `answered` requests need no answer: those that complete another one, and those that these
    /// build on. An empty `answered` means that none is answered.
    #[must_use]
    pub fn needed(&self, answered: &[bool]) -> Vec<bool> {
        let open = |request: &usize| !answered.get(*request).copied().unwrap_or(false);
        let mut needed: Vec<bool> = self.passes.iter().map(|pass| pass.completes.iter().any(open)).collect();
        for index in (0..self.passes.len()).rev() {
            if needed[index]
                && let Some(parent) = self.passes[index].parent
            {
                needed[parent] = true;
            }
        }
        needed
    }
}

/// How many of the groups at the front one pass answers: each is a prefix of the next.
fn pass_members(requests: &[ScoredTokens], order: &[Vec<usize>], longest: usize) -> usize {
    let input = |group: &Vec<usize>| &requests[group[0]].input;
    let extends = |pair: &[Vec<usize>]| {
        let (shorter, longer) = (input(&pair[0]), input(&pair[1]));
        longer.starts_with(shorter) && (longer.len() <= longest || longer.len() == shorter.len())
    };
    1 + order.windows(2).take_while(|pair| extends(pair)).count()
}

fn common_prefix(left: &[TokenId], right: &[TokenId]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, HashSet};

    const ALL: Sharing = Sharing { least: 0, longest: usize::MAX };

    fn request(context: &[TokenId], continuation: &[TokenId]) -> ScoredTokens {
        let mut input = context.to_vec();
        input.extend_from_slice(&continuation[..continuation.len() - 1]);
        ScoredTokens { input, targets: continuation.to_vec() }
    }

    /// Four one-token choices of each of two questions behind one preamble: three stretches of tokens, each fed once.
    #[test]
    fn one_pass_answers_all_one_token_choices_and_the_preamble_is_fed_once() {
        let preamble: Vec<TokenId> = (100..150).collect();
        let mut requests = Vec::new();
        for question in [[1, 2, 3], [4, 5, 6]] {
            let context: Vec<TokenId> = preamble.iter().chain(&question).copied().collect();
            requests.extend((0..4).map(|choice| request(&context, &[choice])));
        }
        let plan = Plan::new(&requests, ALL);
        assert_eq!(plan.passes.iter().map(|pass| pass.fed.clone()).collect::<Vec<_>>(), [0..53, 50..53]);
        assert_eq!(plan.passes[0].completes, [0, 1, 2, 3]);
        assert_eq!(
            plan.passes[0].readings.iter().map(|reading| (reading.row, reading.target)).collect::<Vec<_>>(),
            [(52, 0), (52, 1), (52, 2), (52, 3)]
        );
        assert_eq!((plan.tokens(), plan.longest_shared()), (56, 50));
    }

    /// The common beginning of two answers is fed once, although it is scored for both.
    #[test]
    fn scored_tokens_that_are_shared_are_read_when_they_are_computed() {
        let requests = [request(&[1, 2], &[7, 8, 3]), request(&[1, 2], &[7, 8, 4, 5])];
        let plan = Plan::new(&requests, ALL);
        assert_eq!(plan.passes.len(), 1, "the first input is a prefix of the second");
        assert_eq!(plan.tokens(), 5);
        let apart = [request(&[1, 2], &[7, 8, 3, 0]), request(&[1, 2], &[7, 8, 4, 5])];
        let plan = Plan::new(&apart, ALL);
        assert_eq!(plan.passes.iter().map(|pass| (pass.fed.clone(), pass.parent)).collect::<Vec<_>>(), [(0..5, None), (4..5, Some(0))]);
        assert_eq!(plan.passes[0].readings.len(), 7);
        assert_eq!(plan.passes[1].completes, [1]);
    }

    #[test]
    fn inputs_beyond_the_rewindable_length_share_nothing() {
        let requests =
            [request(&[1, 2, 3], &[4]), request(&[1, 2, 3, 5], &[6]), request(&[1, 2, 3, 6], &[6]), request(&[1, 2, 3, 6], &[7])];
        let plan = Plan::new(&requests, Sharing { least: 0, longest: 3 });
        assert_eq!(plan.passes.iter().map(|pass| pass.fed.clone()).collect::<Vec<_>>(), [0..3, 0..4, 0..4]);
        assert!(plan.passes.iter().all(|pass| pass.parent.is_none()));
    }

    fn requests() -> impl Strategy<Value = Vec<ScoredTokens>> {
        let tokens = |least, most| prop::collection::vec(0..3u32, least..most);
        prop::collection::vec((tokens(1, 12), tokens(1, 6)).prop_map(|(context, continuation)| request(&context, &continuation)), 0..40)
    }

    /// Plays a plan with a model whose logits are the path itself, and gives what each slot would hold: path and target.
    fn play(plan: &Plan, requests: &[ScoredTokens], answered: &[bool]) -> BTreeMap<usize, (Vec<TokenId>, TokenId)> {
        let mut cache: Vec<TokenId> = Vec::new();
        let mut values = BTreeMap::new();
        for (pass, needed) in plan.passes.iter().zip(plan.needed(answered)) {
            if !needed {
                continue;
            }
            cache.truncate(pass.fed.start);
            assert_eq!(cache.len(), pass.fed.start, "the shared rows are in the cache");
            cache.extend_from_slice(&requests[pass.request].input[pass.fed.clone()]);
            for reading in &pass.readings {
                assert!(pass.fed.contains(&reading.row));
                values.insert(reading.slot, (cache[..=reading.row].to_vec(), reading.target));
            }
        }
        values
    }

    proptest! {
        /// Each distinct token prefix is fed exactly once, in no more passes than there are distinct inputs.
        #[test]
        fn a_plan_feeds_each_prefix_once(requests in requests()) {
            let plan = Plan::new(&requests, ALL);
            let prefixes: HashSet<&[TokenId]> = requests.iter().flat_map(|request| (1..=request.input.len()).map(|end| &request.input[..end])).collect();
            prop_assert_eq!(plan.tokens(), prefixes.len());
            let inputs: HashSet<_> = requests.iter().map(|request| &request.input).collect();
            prop_assert!(plan.passes.len() <= inputs.len());
        }

        /// Every open request is completed exactly once, with the right rows of the right path, whatever was answered before.
        #[test]
        fn a_plan_answers_every_request(requests in requests(), answered in prop::collection::vec(any::<bool>(), 40), least in 0..5usize, longest in 0..16usize) {
            let plan = Plan::new(&requests, Sharing { least, longest });
            let mut completed: Vec<usize> = plan.passes.iter().flat_map(|pass| pass.completes.clone()).collect();
            completed.sort_unstable();
            prop_assert_eq!(completed, (0..requests.len()).collect::<Vec<_>>());
            let values = play(&plan, &requests, &answered);
            for (index, request) in requests.iter().enumerate().filter(|(index, _)| !answered[*index]) {
                for (offset, slot) in plan.slots[index].clone().enumerate() {
                    let row = request.first_row() + offset;
                    prop_assert_eq!(values.get(&slot), Some(&(request.input[..=row].to_vec(), request.targets[offset])));
                }
            }
        }

        /// A request's slots are filled by the time its pass is done: no later pass is needed for it.
        #[test]
        fn a_request_is_complete_with_its_pass(requests in requests()) {
            let plan = Plan::new(&requests, ALL);
            let mut filled = HashSet::new();
            for pass in &plan.passes {
                filled.extend(pass.readings.iter().map(|reading| reading.slot));
                for &request in &pass.completes {
                    prop_assert!(plan.slots[request].clone().all(|slot| filled.contains(&slot)));
                }
            }
        }
    }
}
