//! T5 (arXiv 1910.10683), T5 v1.1 and Flan-T5 (arXiv 2210.11416): an encoder, and a decoder that reads the same tokens one position
//! later. Cut at the decoder's state at the input's last end-of-sequence token, which is what `T5ForSequenceClassification` hands to
//! its head. Follows transformers' `modeling_t5.py`, on packed tokens and with S adapter sets at once.
//!
//! Shapes: t packed tokens (or b inputs past the pool), s adapter sets (1 while nothing has set them apart), h width, g inputs of
//! one length l.

use std::ops::ControlFlow;

use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::model::attention;
use crate::model::attention::GroupHeads;
use crate::model::attention::Heads;
use crate::model::attention::Mask;
use crate::model::attention::Projected;
use crate::model::backbone::Backbone;
use crate::model::backbone::BackboneInfo;
use crate::model::backbone::Placement;
use crate::model::backbone::Visit;
use crate::model::backbone::unseen;
use crate::model::config::fields::Activation;
use crate::model::config::t5::T5Config;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::layers::Norm;
use crate::model::layers::NormSize;
use crate::model::linear::Linear;
use crate::model::linear::LinearLoader;
use crate::model::lora_pass::LoraPass;
use crate::model::packing::Group;
use crate::model::packing::Packed;
use crate::model::pooling;
use crate::model::sites::LinearSite;
use crate::model::weights::Weights;

/// The learned bias of each bucket of distances, shared by all layers of a stack.
struct RelativeBias {
    table: Tensor, // (buckets, heads)
    buckets: i64,
    max_distance: f64,
    /// The encoder looks both ways.
    both_ways: bool,
}

impl RelativeBias {
    /// Of queries at `rows` `[r]` on keys at 0 to l - 1: `[r, l, heads]`.
    fn forward(&self, rows: &Tensor, length: i64) -> TchResult<Tensor> {
        let keys = Tensor::f_arange(length, (Kind::Int64, rows.device()))?;
        let distances = keys.f_unsqueeze(0)?.f_sub(&rows.f_unsqueeze(1)?)?; // (r, l)
        let buckets = self.buckets(&distances)?;
        let bias = self.table.f_index_select(0, &buckets.f_flatten(0, 1)?)?;
        bias.f_view([rows.size1()?, length, -1])
    }

    /// transformers' `_relative_position_bucket`: half of the buckets for single distances, the rest grow with the logarithm.
    fn buckets(&self, distances: &Tensor) -> TchResult<Tensor> {
        let (buckets, ahead, far) = if self.both_ways {
            let half = self.buckets / 2;
            (half, distances.f_gt(0)?.f_to_kind(Kind::Int64)?.f_mul_scalar(half)?, distances.f_abs()?)
        } else {
            (self.buckets, distances.f_zeros_like()?, distances.f_neg()?.f_clamp_min(0)?)
        };
        let exact = buckets / 2;
        let logarithm = far.f_to_kind(Kind::Float)?.f_div_scalar(exact)?.f_log()?;
        let grown = logarithm.f_div_scalar((self.max_distance / exact as f64).ln())?.f_mul_scalar(buckets - exact)?;
        // A distance of 0 has no logarithm; it is among the single ones.
        let grown = grown.f_clamp(0, buckets)?.f_to_kind(Kind::Int64)?.f_add_scalar(exact)?.f_clamp_max(buckets - 1)?;
        far.f_where_self(&far.f_lt(exact)?, &grown)?.f_add(&ahead)
    }
}

/// What the scores of a group get added.
enum Bias<'a> {
    /// The bias by distance; the decoder's sees no key after its query.
    Relative(&'a RelativeBias),
    /// Nothing: the decoder looking at the encoder's states.
    None,
}

struct Attention {
    norm: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: Heads,
}

impl Attention {
    /// Adds to `x` what its tokens find in `memory` (their own normed states where `None`). `picks`, where given, are the only
    /// tokens whose outputs are asked for.
    fn forward(&self, x: &Tensor, memory: Option<&Tensor>, bias: &Bias, pass: &Pass) -> TchResult<Tensor> {
        let normed = self.norm.forward(x)?;
        let picks = pass.picks.filter(|_| memory.is_none());
        let [asking, x] = match picks {
            Some(picks) => [normed.f_index_select(0, picks)?, x.f_index_select(0, picks)?], // (b, s, h)
            None => [normed.shallow_clone(), x.shallow_clone()],                            // (t or b, s, h)
        };
        let read = memory.unwrap_or(&normed);
        let projected = Projected {
            query: self.query.forward(&asking, pass.lora)?,
            key: self.key.forward(read, pass.lora)?,
            value: self.value.forward(read, pass.lora)?,
        };
        let positions = picks.map(|picks| pass.batch.positions.f_index_select(0, picks)).transpose()?;
        let attend =
            |heads: &GroupHeads| attention::dot_product(heads, &self.mask(heads, bias, positions.as_ref())?, Some(1.0));
        let attended = attention::by_group(&projected, self.heads, pass.batch, attend)?;
        x.f_add(&self.output.forward(&attended, pass.lora)?)
    }

    /// `positions` are those of picked queries in their inputs, `[b]`.
    fn mask(&self, heads: &GroupHeads, bias: &Bias, positions: Option<&Tensor>) -> TchResult<Mask> {
        let Bias::Relative(relative) = bias else { return Ok(Mask::None) };
        let Group { length, inputs } = *heads.group;
        let rows = match positions {
            Some(positions) => positions.f_narrow(0, heads.first_input, inputs)?, // (g)
            None => Tensor::f_arange(length, (Kind::Int64, heads.query.device()))?, // (l)
        };
        let mut bias = relative.forward(&rows, length)?; // (g or l, l, heads)
        if !relative.both_ways {
            let keys = Tensor::f_arange(length, (Kind::Int64, rows.device()))?;
            let ahead = keys.f_unsqueeze(0)?.f_gt_tensor(&rows.f_unsqueeze(1)?)?.f_unsqueeze(2)?;
            bias = bias.f_masked_fill(&ahead, f64::NEG_INFINITY)?;
        }
        let by_head = match positions {
            Some(_) => bias.f_permute([0, 2, 1])?.f_unsqueeze(2)?, // (g, heads, 1, l)
            None => bias.f_permute([2, 0, 1])?.f_unsqueeze(0)?,    // (1, heads, l, l)
        };
        let sets = heads.query.size().get(1).copied().unwrap_or(1) / self.heads.query;
        Ok(Mask::Tensor(by_head.f_repeat([1, sets, 1, 1])?.f_to_kind(heads.query.kind())?))
    }
}

struct FeedForward {
    norm: Norm,
    /// `wi`, or `wi_0`, whose activation gates `wi_1`.
    inner: Linear,
    gated: Option<Linear>,
    output: Linear,
    activation: Activation,
}

impl FeedForward {
    fn forward(&self, x: &Tensor, lora: Option<&LoraPass>) -> TchResult<Tensor> {
        let normed = self.norm.forward(x)?;
        let mut inner = self.activation.forward(&self.inner.forward(&normed, lora)?)?;
        if let Some(gated) = &self.gated {
            inner = inner.f_mul(&gated.forward(&normed, lora)?)?;
        }
        x.f_add(&self.output.forward(&inner, lora)?)
    }
}

struct Block {
    own: Attention,
    /// Attention to the encoder's states; the decoder's blocks have it.
    cross: Option<Attention>,
    feed_forward: FeedForward,
}

struct Stack {
    blocks: Vec<Block>,
    bias: RelativeBias,
    norm: Norm,
}

impl Stack {
    /// What goes into the blocks, and what comes out of each.
    fn levels(&self) -> usize {
        self.blocks.len() + 1
    }

    /// `x` `[t, 1, h]` to `[t, s, h]`, or `[b, s, h]` where the pass picks. Where `visit` breaks off, no further block runs: the states
    /// are then those of the last level that it came to.
    fn forward(
        &self,
        x: Tensor,
        memory: Option<&Tensor>,
        pass: &Pass,
        visit: &mut Visit,
    ) -> TchResult<(Tensor, ControlFlow<()>)> {
        let mut x = x;
        let mut flow = visit(0, &x)?;
        for (index, block) in self.blocks.iter().enumerate() {
            if flow.is_break() {
                break;
            }
            let is_last = index + 1 == self.blocks.len();
            let pass = Pass { picks: pass.picks.filter(|_| is_last), ..*pass };
            x = block.own.forward(&x, None, &Bias::Relative(&self.bias), &pass)?;
            if let (Some(cross), Some(memory)) = (&block.cross, memory) {
                x = cross.forward(&x, Some(memory), &Bias::None, &pass)?;
            }
            x = block.feed_forward.forward(&x, pass.lora)?;
            if is_last {
                x = self.norm.forward(&x)?;
            }
            flow = visit(index + 1, &x)?;
        }
        Ok((x, flow))
    }
}

/// What every block of one pass needs.
#[derive(Clone, Copy)]
struct Pass<'a> {
    batch: &'a Packed,
    lora: Option<&'a LoraPass>,
    picks: Option<&'a Tensor>,
}

/// A T5 encoder and decoder.
pub struct T5 {
    info: BackboneInfo,
    sites: Vec<LinearSite>,
    words: Tensor, // (vocab, h)
    encoder: Stack,
    decoder: Stack,
    start: i64,
    graph_floats: usize,
    // Last, so that it is dropped after the tensors that point into it.
    _weights: Weights,
}

impl T5 {
    /// Builds both stacks from the weights of their folder.
    pub fn new(config: T5Config, mut weights: Weights, placement: Placement) -> Result<Self, ModelError> {
        weights.settle_prefix(&["transformer."], "encoder.final_layer_norm.weight")?;
        // Tied tables are in the file once, under one of these names.
        let tables = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
        let table = tables.into_iter().find(|name| weights.has(name)).unwrap_or("shared.weight");
        let shape = [config.vocab_size as i64, config.hidden_size as i64];
        let words = weights.get_stored(table, &shape, placement.device)?;
        let mut linears = LinearLoader::new(&weights, placement);
        let mut builder = Builder { config: &config, weights: &weights, placement, linears: &mut linears };
        let encoder = builder.stack("encoder", config.encoder_layers)?;
        let decoder = builder.stack("decoder", config.decoder_layers)?;
        let sites = linears.sites;
        Ok(Self {
            info: BackboneInfo {
                family: "t5".to_owned(),
                hidden_size: config.hidden_size,
                layers: config.encoder_layers + config.decoder_layers,
                levels: encoder.levels() + decoder.levels(),
                max_tokens: config.positions,
                vocab_size: config.vocab_size,
                token_types: 0,
                eos: Some(config.eos),
                parameters: weights.parameters(),
                bytes: weights.bytes(),
            },
            sites,
            words,
            encoder,
            decoder,
            start: config.start,
            graph_floats: graph_floats(&config),
            _weights: weights,
        })
    }

    fn embed(&self, ids: &Tensor) -> TchResult<Tensor> {
        self.words.f_index_select(0, ids)?.f_to_kind(Kind::Float)?.f_unsqueeze(1) // (t, 1, h)
    }

    /// Runs the encoder, then the decoder, until `visit` breaks off, and gives the last level that it came to. What the pass picks are the
    /// only tokens that the decoder's last block is asked for.
    fn walk(&self, pass: &Pass, visit: &mut Visit) -> TchResult<Tensor> {
        let embed = |ids: &Tensor| {
            let _frozen = tch::no_grad_guard();
            self.embed(ids)
        };
        let words = embed(&pass.batch.ids)?;
        let (encoded, flow) = self.encoder.forward(words, None, &Pass { picks: None, ..*pass }, visit)?; // (t, s, h)
        if flow.is_break() {
            return Ok(encoded);
        }
        let shifted = embed(&self.shifted(pass.batch)?)?;
        let first = self.encoder.levels();
        let mut decoder_visit = |level: usize, states: &Tensor| visit(first + level, states);
        let (decoded, _) = self.decoder.forward(shifted, Some(&encoded), pass, &mut decoder_visit)?;
        Ok(decoded)
    }

    /// What the decoder reads: each input one position later, behind the start token.
    fn shifted(&self, batch: &Packed) -> TchResult<Tensor> {
        batch.ids.f_roll([1], [0])?.f_index_fill(0, &batch.first, self.start)
    }
}

/// Per token: norms with their squares, projections, attention's output, feed-forward parts.
fn graph_floats(config: &T5Config) -> usize {
    let inner = config.heads * config.head_width;
    let feed_forward = if config.gated { 4 } else { 2 } * config.intermediate_size;
    let own = 6 * config.hidden_size + 5 * inner + feed_forward;
    config.encoder_layers * own + config.decoder_layers * (own + 3 * config.hidden_size + 5 * inner)
}

struct Builder<'a, 'b> {
    config: &'a T5Config,
    weights: &'a Weights,
    placement: Placement,
    linears: &'b mut LinearLoader<'a>,
}

impl Builder<'_, '_> {
    fn norm(&self, path: &str) -> Result<Norm, ModelError> {
        let size = NormSize { width: self.config.hidden_size, eps: self.config.norm_eps };
        Norm::rms(self.weights, path, size, self.placement)
    }

    fn stack(&mut self, name: &str, blocks: usize) -> Result<Stack, ModelError> {
        let both_ways = name == "encoder";
        let path = format!("{name}.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
        let shape = [self.config.buckets as i64, self.config.heads as i64];
        Ok(Stack {
            blocks: (0..blocks)
                .map(|block| self.block(&format!("{name}.block.{block}"), both_ways))
                .collect::<Result<_, _>>()?,
            bias: RelativeBias {
                table: self.weights.get(&path, &shape, Kind::Float, self.placement.device)?,
                buckets: self.config.buckets as i64,
                max_distance: self.config.max_distance as f64,
                both_ways,
            },
            norm: self.norm(&format!("{name}.final_layer_norm"))?,
        })
    }

    fn block(&mut self, path: &str, encoder: bool) -> Result<Block, ModelError> {
        let own = self.attention(&format!("{path}.layer.0"), "SelfAttention")?;
        let cross = if encoder { None } else { Some(self.attention(&format!("{path}.layer.1"), "EncDecAttention")?) };
        let last = if encoder { 1 } else { 2 };
        Ok(Block { own, cross, feed_forward: self.feed_forward(&format!("{path}.layer.{last}"))? })
    }

    fn attention(&mut self, path: &str, module: &str) -> Result<Attention, ModelError> {
        let T5Config { hidden_size: hidden, heads, head_width, .. } = *self.config;
        let inner = heads * head_width;
        let norm = self.norm(&format!("{path}.layer_norm"))?;
        let mut linear = |name: &str, shape| self.linears.linear(format!("{path}.{module}.{name}"), shape, false);
        Ok(Attention {
            norm,
            query: linear("q", [hidden, inner])?,
            key: linear("k", [hidden, inner])?,
            value: linear("v", [hidden, inner])?,
            output: linear("o", [inner, hidden])?,
            heads: Heads::even(heads, head_width),
        })
    }

    fn feed_forward(&mut self, path: &str) -> Result<FeedForward, ModelError> {
        let T5Config { hidden_size: hidden, intermediate_size: inner, gated, activation, .. } = *self.config;
        let norm = self.norm(&format!("{path}.layer_norm"))?;
        let mut linear = |name: &str, shape| self.linears.linear(format!("{path}.DenseReluDense.{name}"), shape, false);
        Ok(FeedForward {
            norm,
            inner: linear(if gated { "wi_0" } else { "wi" }, [hidden, inner])?,
            gated: if gated { Some(linear("wi_1", [hidden, inner])?) } else { None },
            output: linear("wo", [inner, hidden])?,
            activation,
        })
    }
}

impl Backbone for T5 {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn linears(&self) -> &[LinearSite] {
        &self.sites
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["q", "v"]
    }

    fn other_modules(&self) -> &'static [&'static str] {
        &[
            "DenseReluDense",
            "EncDecAttention",
            "SelfAttention",
            "block",
            "decoder",
            "embed_tokens",
            "encoder",
            "final_layer_norm",
            "layer",
            "layer_norm",
            "lm_head",
            "relative_attention_bias",
            "shared",
        ]
    }

    fn graph_floats_per_token(&self) -> usize {
        self.graph_floats
    }

    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError> {
        let states = self.walk(&Pass { batch, lora, picks: pooling::picks(batch, pooling) }, &mut unseen)?;
        Ok(pooling::pool(&states, batch, pooling)?)
    }

    fn hidden_states(&self, batch: &Packed, visit: &mut Visit) -> Result<(), ModelError> {
        drop(self.walk(&Pass { batch, lora: None, picks: None }, visit)?);
        Ok(())
    }
}
