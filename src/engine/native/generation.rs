//! Continuing prompts: groups of prompts share what they begin with, and are continued side by side.
//!
//! The prompts of a group are computed as a forest whose keys and values stay in the cache; then each step computes one row for each
//! generation under way. Groups are a function of all requests of a call, whatever is answered already.

use super::NativeModel;
use super::attention::Cache;
use super::forest::{Forest, Path, Stretch};
use super::forward::Batch;
use crate::engine::answers::of_request;
use crate::engine::plan::{Plan, Sharing};
use crate::engine::sampling::Sampler;
use crate::engine::tokenizer::{EncodedPrompt, ScoredTokens, StopString};
use crate::engine::{Decoding, EngineError, Finish, Generation, GenerationRequest, Sink, Timing, TokenId, Usage};
use rayon::prelude::*;
use std::time::Instant;

/// Memory for the keys and values of a group.
const CACHE_BYTES: usize = 448 << 20;

/// Most generations side by side.
const MOST_SEQUENCES: usize = 48;

/// A generation under way.
struct Sequence {
    /// The request; others that are equal to it get the same answer.
    request: usize,
    /// The prompt's places in the cache.
    path: Vec<Stretch>,
    prompt: usize,
    /// First place of what it writes.
    place: usize,
    written: Vec<TokenId>,
    sampler: Sampler,
    stops: Vec<StopString>,
    finish: Option<Finish>,
    /// Tokens of the prompt that were computed for it.
    fed: usize,
}

fn length(tokens: usize) -> u64 {
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

impl NativeModel {
    /// Continues prompts.
    pub(super) fn generate(
        &mut self,
        requests: &[GenerationRequest],
        answered: &[bool],
        sink: &mut Sink<'_, Generation>,
    ) -> Result<Usage, EngineError> {
        let begun = Instant::now();
        let prompts: Result<Vec<EncodedPrompt>, EngineError> = requests
            .par_iter()
            .enumerate()
            .map(|(index, request)| {
                if request.max_new_tokens == 0 {
                    return Err(EngineError::Request(format!("request {index}: max_new_tokens is 0")));
                }
                self.tokenizer.prompt(&request.context, request.max_new_tokens).map_err(|error| of_request(index, error))
            })
            .collect();
        let prompts = prompts?;
        for prompt in &prompts {
            self.check_tokens(prompt.tokens.iter())?;
        }
        let mut usage = Usage::default();
        for group in self.groups(requests, &prompts) {
            let is_open = |request: &usize| !answered.get(*request).copied().unwrap_or(false);
            if group.iter().flatten().any(is_open) {
                self.continue_group(requests, &prompts, &group, answered, &mut usage, sink)?;
            }
        }
        usage.seconds = begun.elapsed().as_secs_f64();
        Ok(usage)
    }

    /// Requests side by side: groups of lists of equal greedy requests, in the order of their prompts.
    fn groups(&self, requests: &[GenerationRequest], prompts: &[EncodedPrompt]) -> Vec<Vec<Vec<usize>>> {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by(|&left, &right| prompts[left].tokens.cmp(&prompts[right].tokens).then(left.cmp(&right)));
        let mut distinct: Vec<Vec<usize>> = Vec::new();
        for index in order {
            let is_same = |other: &Vec<usize>| requests[other[0]] == requests[index] && requests[index].decoding == Decoding::Greedy;
            // Equal requests have equal prompts, so they stand among the last ones.
            let same_prompt = distinct.iter_mut().rev().take_while(|other| prompts[other[0]].tokens == prompts[index].tokens);
            match same_prompt.into_iter().find(|other| is_same(other)) {
                Some(same) => same.push(index),
                None => distinct.push(vec![index]),
            }
        }
        let places = CACHE_BYTES / self.decoder.bytes_per_place();
        let mut groups: Vec<Vec<Vec<usize>>> = Vec::new();
        let mut used = 0;
        for equal in distinct {
            let (tokens, new) = (&prompts[equal[0]].tokens, requests[equal[0]].max_new_tokens);
            if let Some(group) = groups.last_mut() {
                let before = &prompts[group[group.len() - 1][0]].tokens;
                let shared = before.iter().zip(tokens).take_while(|(left, right)| left == right).count();
                let wanted = tokens.len() - shared + new;
                if group.len() < MOST_SEQUENCES && used + wanted <= places {
                    used += wanted;
                    group.push(equal);
                    continue;
                }
            }
            used = tokens.len() + new;
            groups.push(vec![equal]);
        }
        groups
    }

    fn continue_group(
        &mut self,
        requests: &[GenerationRequest],
        prompts: &[EncodedPrompt],
        group: &[Vec<usize>],
        answered: &[bool],
        usage: &mut Usage,
        sink: &mut Sink<'_, Generation>,
    ) -> Result<(), EngineError> {
        let inputs: Vec<ScoredTokens> =
            group.iter().map(|equal| ScoredTokens { input: prompts[equal[0]].tokens.clone(), targets: vec![0] }).collect();
        let plan = Plan::new(&inputs, Sharing { least: 0, longest: usize::MAX });
        let mut sequences = self.sequences(requests, group, &inputs, &plan)?;
        let places = plan.tokens() + group.iter().map(|equal| requests[equal[0]].max_new_tokens).sum::<usize>();
        let mut cache = Cache::new(&self.decoder, places);
        self.prefill(&inputs, &plan, &mut sequences, &mut cache, group)?;
        loop {
            for (sequence, equal) in sequences.iter_mut().zip(group) {
                let Some(finish) = sequence.finish else { continue };
                if sequence.written.is_empty() {
                    continue;
                }
                let answer = self.answer(sequence, finish, &prompts[sequence.request])?;
                sequence.written.clear();
                for (copy, &request) in equal.iter().enumerate() {
                    let computed = if copy == 0 { answer.tokens_computed } else { 0 };
                    if answered.get(request).copied().unwrap_or(false) {
                        usage.tokens_recomputed += computed;
                        continue;
                    }
                    usage.tokens_nominal += answer.tokens_nominal;
                    usage.tokens_computed += computed;
                    usage.truncated += u64::from(answer.truncated);
                    sink(request, Generation { tokens_computed: computed, ..answer.clone() }).map_err(EngineError::Stopped)?;
                }
            }
            if sequences.iter().all(|sequence| sequence.finish.is_some()) {
                return Ok(());
            }
            self.step(requests, &mut sequences, &mut cache)?;
        }
    }

    fn sequences(
        &self,
        requests: &[GenerationRequest],
        group: &[Vec<usize>],
        inputs: &[ScoredTokens],
        plan: &Plan,
    ) -> Result<Vec<Sequence>, EngineError> {
        let forest = Forest::new(plan, inputs, usize::MAX);
        let mut pass_of = vec![0; inputs.len()];
        for (number, pass) in plan.passes.iter().enumerate() {
            pass.completes.iter().for_each(|&input| pass_of[input] = number);
        }
        let mut place = plan.tokens();
        let mut sequences = Vec::with_capacity(group.len());
        for (index, equal) in group.iter().enumerate() {
            let request = &requests[equal[0]];
            let pass = &plan.passes[pass_of[index]];
            let prompt = inputs[index].input.len();
            sequences.push(Sequence {
                request: equal[0],
                path: forest.path_of(pass_of[index], prompt),
                prompt,
                place,
                written: Vec::with_capacity(request.max_new_tokens),
                sampler: Sampler::new(request.decoding),
                stops: self.tokenizer.stop_strings(&request.until)?,
                finish: None,
                fed: if pass.request == index { pass.fed.len() } else { 0 },
            });
            place += request.max_new_tokens;
        }
        Ok(sequences)
    }

    /// Computes the prompts, and the first token of each generation.
    fn prefill(
        &mut self,
        inputs: &[ScoredTokens],
        plan: &Plan,
        sequences: &mut [Sequence],
        cache: &mut Cache,
        group: &[Vec<usize>],
    ) -> Result<(), EngineError> {
        let forest = Forest::new(plan, inputs, self.rows);
        let mut of_slot = vec![Vec::new(); plan.readings];
        for (input, slots) in plan.slots.iter().enumerate() {
            of_slot[slots.start].push(input);
        }
        let mut before = Vec::new();
        for index in 0..forest.len() {
            let (batch, end) = forest.batch(index, forest.rows(index).start, before);
            before = end;
            let readings = forest.readings(index);
            let mut wanted: Vec<usize> = readings.iter().map(|reading| reading.row).collect();
            wanted.dedup();
            let hidden = self.decoder.forward(&batch, &wanted, cache, &mut self.work);
            self.decoder.logits(&hidden, &mut self.logits);
            let vocabulary = self.decoder.vocabulary();
            for reading in &readings {
                let row = wanted.partition_point(|&row| row < reading.row);
                let logits = &self.logits[row * vocabulary..(row + 1) * vocabulary];
                for &input in &of_slot[reading.slot] {
                    let token = sequences[input].sampler.choose(logits).map_err(|error| of_request(group[input][0], error))?;
                    sequences[input].written.push(token);
                }
            }
        }
        Ok(())
    }

    /// Ends the generations that are over, and computes the next token of the others.
    fn step(&mut self, requests: &[GenerationRequest], sequences: &mut [Sequence], cache: &mut Cache) -> Result<(), EngineError> {
        let tokenizer = &self.tokenizer;
        sequences.par_iter_mut().filter(|sequence| sequence.finish.is_none()).try_for_each(|sequence| {
            sequence.finish = match sequence.written.last() {
                Some(last) if tokenizer.end_tokens().contains(last) => Some(Finish::EndOfSequence),
                _ if tokenizer.stops(&sequence.written, &sequence.stops)? => Some(Finish::StopString),
                _ if sequence.written.len() >= requests[sequence.request].max_new_tokens => Some(Finish::Length),
                _ => None,
            };
            Ok::<(), EngineError>(())
        })?;
        let mut active: Vec<&mut Sequence> = sequences.iter_mut().filter(|sequence| sequence.finish.is_none()).collect();
        if active.is_empty() {
            return Ok(());
        }
        let mut batch = Batch { tokens: Vec::new(), positions: Vec::new(), slots: Vec::new(), pieces: Vec::new() };
        let mut path = Path::default();
        for (row, sequence) in active.iter().enumerate() {
            let fed = sequence.written.len() - 1;
            let token = sequence.written[fed];
            self.check_tokens([token].iter())?;
            batch.tokens.push(token);
            batch.positions.push(sequence.prompt + fed);
            batch.slots.push(sequence.place + fed);
            let shared = path.shared(&sequence.path);
            path.cut(shared, row);
            for stretch in &sequence.path {
                let known = shared.saturating_sub(stretch.position).min(stretch.length);
                path.push(stretch.slot + known, stretch.position + known, stretch.length - known, row);
            }
            path.push(sequence.place, sequence.prompt, fed + 1, row);
        }
        batch.pieces = path.finish(active.len());
        let wanted: Vec<usize> = (0..active.len()).collect();
        let hidden = self.decoder.forward(&batch, &wanted, cache, &mut self.work);
        self.decoder.logits(&hidden, &mut self.logits);
        let vocabulary = self.decoder.vocabulary();
        active.par_iter_mut().zip(self.logits.par_chunks_exact(vocabulary)).try_for_each(|(sequence, logits)| {
            let token = sequence.sampler.choose(logits).map_err(|error| of_request(sequence.request, error))?;
            sequence.written.push(token);
            Ok::<(), EngineError>(())
        })
    }

    /// See [`crate::engine::LanguageModel::time_generation`].
    pub(super) fn time(&mut self, prompt_tokens: usize, new_tokens: usize) -> Result<Timing, EngineError> {
        let window = self.tokenizer.max_length();
        if prompt_tokens == 0 || new_tokens < 2 || prompt_tokens + new_tokens > window {
            return Err(EngineError::Request(format!(
                "a prompt of {prompt_tokens} tokens and {new_tokens} new ones cannot be timed in a window of {window}"
            )));
        }
        let known = self.decoder.embedding.rows.min(self.decoder.vocabulary()).max(1);
        let token = |place: usize| TokenId::try_from((place * 7919 + 13) % known).unwrap_or(0);
        // Put in the place of every token that is written: none of them ends the generation, and what a step costs does not depend on them.
        let going_on = (0..TokenId::MAX).find(|token| !self.tokenizer.end_tokens().contains(token)).unwrap_or(0);
        // One more than is timed, so that the length does not end it either.
        let request =
            GenerationRequest { context: String::new(), until: Vec::new(), max_new_tokens: new_tokens + 1, decoding: Decoding::Greedy };
        let (requests, group) = ([request], [vec![0]]);
        let begun = Instant::now();
        let inputs = [ScoredTokens { input: (0..prompt_tokens).map(token).collect(), targets: vec![0] }];
        let plan = Plan::new(&inputs, Sharing { least: 0, longest: usize::MAX });
        let mut sequences = self.sequences(&requests, &group, &inputs, &plan)?;
        let mut cache = Cache::new(&self.decoder, plan.tokens() + new_tokens + 1);
        self.prefill(&inputs, &plan, &mut sequences, &mut cache, &group)?;
        let first_token_s = begun.elapsed().as_secs_f64();
        for _ in 1..new_tokens {
            if let Some(last) = sequences[0].written.last_mut() {
                *last = going_on;
            }
            self.step(&requests, &mut sequences, &mut cache)?;
        }
        Ok(Timing { first_token_s, last_token_s: begun.elapsed().as_secs_f64() })
    }

    fn answer(&self, sequence: &Sequence, finish: Finish, prompt: &EncodedPrompt) -> Result<Generation, EngineError> {
        Ok(Generation {
            text: self.tokenizer.generated_text(&sequence.written, &sequence.stops)?,
            token_ids: sequence.written.clone(),
            finish,
            truncated: prompt.truncated,
            tokens_nominal: length(sequence.prompt + sequence.written.len() - 1),
            tokens_computed: length(sequence.fed + sequence.written.len() - 1),
        })
    }
}
