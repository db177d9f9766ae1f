//! LLaMA 2 and 3 (arXiv 2307.09288, 2407.21783), Mistral (arXiv 2310.06825: sliding windows) and Qwen2 (arXiv 2407.10671: biases):
//! pre-norm decoders with rotary positions and grouped-query attention. Follows transformers' `modeling_llama.py`,
//! `modeling_mistral.py` and `modeling_qwen2.py`, on packed tokens and with S adapter sets at once.
//!
//! Shapes: t packed tokens (or b inputs past the pool), s adapter sets (1 while nothing has set them apart), h width, d width of a
//! head.

use tch::Device;
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
use crate::model::config::llama::LlamaConfig;
use crate::model::config::llama::Rope;
use crate::model::config::llama::RopeScaling;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::layers::Norm;
use crate::model::layers::NormSize;
use crate::model::linear::Linear;
use crate::model::linear::LinearLoader;
use crate::model::lora_pass::LoraPass;
use crate::model::packing::Packed;
use crate::model::pooling;
use crate::model::sites::LinearSite;
use crate::model::weights::Weights;

/// Cosines and sines of a batch, `[t, 1, 1, d]`, float32.
struct Turns {
    cos: Tensor,
    sin: Tensor,
}

impl Turns {
    /// Of every packed token, from the frequencies `[d / 2]`.
    fn new(frequencies: &Tensor, batch: &Packed) -> TchResult<Self> {
        let positions = batch.positions.f_to_kind(Kind::Float)?.f_unsqueeze(1)?; // (t, 1)
        let angles = positions.f_mul(&frequencies.f_unsqueeze(0)?)?; // (t, d / 2)
        let angles = Tensor::f_cat(&[&angles, &angles], 1)?.f_unsqueeze(1)?.f_unsqueeze(1)?; // (t, 1, 1, d)
        Ok(Self { cos: angles.f_cos()?, sin: angles.f_sin()? })
    }

    fn pick(&self, picks: &Tensor) -> TchResult<Self> {
        Ok(Self { cos: self.cos.f_index_select(0, picks)?, sin: self.sin.f_index_select(0, picks)? })
    }

    /// Turns the two halves of every head against each other: `[t, s, heads * d]` to the same.
    fn apply(&self, x: &Tensor) -> TchResult<Tensor> {
        let (tokens, sets, width) = x.size3()?;
        let head = self.cos.size().last().copied().unwrap_or(1);
        let heads = x.f_view([tokens, sets, width / head, head])?; // (t, s, heads, d)
        let halves = heads.f_chunk(2, -1)?;
        let turned = Tensor::f_cat(&[&halves[1].f_neg()?, &halves[0]], -1)?;
        let out = heads.f_mul(&self.cos)?.f_add(&turned.f_mul(&self.sin)?)?;
        out.f_to_kind(x.kind())?.f_reshape([tokens, sets, width])
    }
}

/// Frequencies `[d / 2]`: theta^(-2i / d), stretched as the configuration says (transformers' `modeling_rope_utils.py`).
fn frequencies(rope: &Rope, head_width: usize, device: Device) -> TchResult<Tensor> {
    let values: Vec<f32> = (0..head_width / 2)
        .map(|i| {
            let plain = 1.0 / rope.theta.powf(2.0 * i as f64 / head_width as f64);
            stretch(plain, &rope.scaling) as f32
        })
        .collect();
    Tensor::f_from_slice(&values)?.f_to_device(device)
}

fn stretch(plain: f64, scaling: &RopeScaling) -> f64 {
    match *scaling {
        RopeScaling::None => plain,
        RopeScaling::Linear(factor) => plain / factor,
        RopeScaling::Llama3 { factor, low, high, original } => {
            let wavelength = 2.0 * std::f64::consts::PI / plain;
            if wavelength < original / high {
                return plain;
            }
            if wavelength > original / low {
                return plain / factor;
            }
            let kept = (original / wavelength - low) / (high - low);
            (1.0 - kept) * plain / factor + kept * plain
        }
    }
}

struct Layer {
    input_norm: Norm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    heads: Heads,
    /// How many tokens back a token sees, itself included.
    window: Option<i64>,
    middle_norm: Norm,
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

impl Layer {
    /// `picks`, where given, are the only tokens whose outputs are asked for.
    fn forward(&self, x: &Tensor, pass: &Pass, picks: Option<&Tensor>) -> TchResult<Tensor> {
        let pick = |x: &Tensor| match picks {
            Some(picks) => x.f_index_select(0, picks), // (b, s, h)
            None => Ok(x.shallow_clone()),             // (t, s, h)
        };
        let normed = self.input_norm.forward(x)?;
        let attended = self.attend(&pick(&normed)?, &normed, pass, picks)?;
        let x = pick(x)?.f_add(&self.output.forward(&attended, pass.lora)?)?;
        let normed = self.middle_norm.forward(&x)?;
        let gate = self.activation.forward(&self.gate.forward(&normed, pass.lora)?)?; // (t or b, s, intermediate)
        let inner = gate.f_mul(&self.up.forward(&normed, pass.lora)?)?;
        x.f_add(&self.down.forward(&inner, pass.lora)?)
    }

    fn attend(&self, asking: &Tensor, x: &Tensor, pass: &Pass, picks: Option<&Tensor>) -> TchResult<Tensor> {
        let turned = picks.map(|picks| pass.turns.pick(picks)).transpose()?;
        let query = self.query.forward(asking, pass.lora)?;
        let projected = Projected {
            query: turned.as_ref().unwrap_or(&pass.turns).apply(&query)?, // (t or b, s, heads * d)
            key: pass.turns.apply(&self.key.forward(x, pass.lora)?)?,     // (t, s, key heads * d)
            value: self.value.forward(x, pass.lora)?,                     // (t, s, key heads * d)
        };
        let attend = |heads: &GroupHeads| attention::dot_product(heads, &self.mask(heads)?, None);
        attention::by_group(&projected, self.heads, pass.batch, attend)
    }

    /// A picked query is its input's last token and sees all of it, or as much as the window lets it.
    fn mask(&self, heads: &GroupHeads) -> TchResult<Mask> {
        let length = heads.group.length;
        let Some(window) = self.window.filter(|window| *window < length) else { return Ok(Mask::Causal) };
        let positions = Tensor::f_arange(length, (Kind::Int64, heads.query.device()))?;
        let rows = if heads.picked { positions.f_narrow(0, length - 1, 1)? } else { positions.shallow_clone() };
        let back = rows.f_unsqueeze(1)?.f_sub(&positions.f_unsqueeze(0)?)?; // (l or 1, l)
        Ok(Mask::Tensor(back.f_ge(0)?.f_logical_and(&back.f_lt(window)?)?))
    }
}

/// What every layer of one pass needs.
struct Pass<'a> {
    batch: &'a Packed,
    lora: Option<&'a LoraPass>,
    turns: Turns,
}

/// A LLaMA-like decoder.
pub struct Llama {
    info: BackboneInfo,
    sites: Vec<LinearSite>,
    words: Tensor, // (vocab, h)
    frequencies: Tensor,
    layers: Vec<Layer>,
    norm: Norm,
    graph_floats: usize,
    // Last, so that it is dropped after the tensors that point into it.
    _weights: Weights,
}

impl Llama {
    /// Builds the decoder from the weights of its folder.
    pub fn new(config: LlamaConfig, mut weights: Weights, placement: Placement) -> Result<Self, ModelError> {
        weights.settle_prefix(&["model."], "embed_tokens.weight")?;
        let mut linears = LinearLoader::new(&weights, placement);
        let layers = (0..config.layers)
            .map(|layer| Builder { config: &config, weights: &weights, placement, layer }.build(&mut linears))
            .collect::<Result<Vec<_>, _>>()?;
        let sites = linears.sites;
        let norm =
            Norm::rms(&weights, "norm", NormSize { width: config.hidden_size, eps: config.norm_eps }, placement)?;
        let shape = [config.vocab_size as i64, config.hidden_size as i64];
        // Left in the file's kind: a table of rows, of which a pass reads a few.
        let words = weights.get_stored("embed_tokens.weight", &shape, placement.device)?;
        Ok(Self {
            info: BackboneInfo {
                family: config.family.clone(),
                hidden_size: config.hidden_size,
                layers: config.layers,
                levels: config.layers + 1,
                max_tokens: config.positions,
                vocab_size: config.vocab_size,
                token_types: 0,
                eos: None,
                parameters: weights.parameters(),
                bytes: weights.bytes(),
            },
            sites,
            words,
            frequencies: frequencies(&config.rope, config.head_width, placement.device)?,
            layers,
            norm,
            graph_floats: config.layers * graph_floats(&config),
            _weights: weights,
        })
    }
}

impl Llama {
    /// Runs the layers until `visit` breaks off, and gives the last level that it came to. `picks`, where given, are the only tokens that
    /// the last layer is asked for.
    fn walk(
        &self,
        batch: &Packed,
        lora: Option<&LoraPass>,
        picks: Option<&Tensor>,
        visit: &mut Visit,
    ) -> TchResult<Tensor> {
        let (mut x, turns) = {
            let _frozen = tch::no_grad_guard();
            let words = self.words.f_index_select(0, &batch.ids)?.f_to_kind(Kind::Float)?;
            (words.f_unsqueeze(1)?, Turns::new(&self.frequencies, batch)?) // (t, 1, h)
        };
        let pass = Pass { batch, lora, turns };
        let mut flow = visit(0, &x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if flow.is_break() {
                break;
            }
            let is_last = index + 1 == self.layers.len();
            x = layer.forward(&x, &pass, picks.filter(|_| is_last))?; // (t, s, h); (b, s, h) past the pool
            if is_last {
                x = self.norm.forward(&x)?;
            }
            flow = visit(index + 1, &x)?;
        }
        Ok(x)
    }
}

/// Per token and layer: two norms with their squares, turned queries and keys, attention's inputs and output, the gate's parts.
fn graph_floats(config: &LlamaConfig) -> usize {
    let attention = config.heads * config.head_width;
    6 * config.hidden_size + 7 * attention + 4 * config.intermediate_size
}

struct Builder<'a> {
    config: &'a LlamaConfig,
    weights: &'a Weights,
    placement: Placement,
    layer: usize,
}

impl Builder<'_> {
    fn path(&self, name: &str) -> String {
        format!("layers.{}.{name}", self.layer)
    }

    fn norm(&self, name: &str) -> Result<Norm, ModelError> {
        let size = NormSize { width: self.config.hidden_size, eps: self.config.norm_eps };
        Norm::rms(self.weights, &self.path(name), size, self.placement)
    }

    fn build(&self, linears: &mut LinearLoader) -> Result<Layer, ModelError> {
        let LlamaConfig { hidden_size, heads, key_heads, head_width, intermediate_size, .. } = *self.config;
        let queries = heads * head_width;
        let keys = key_heads * head_width;
        let mut linear = |name: &str, shape: [usize; 2], bias: bool| linears.linear(self.path(name), shape, bias);
        let bias = self.config.qkv_bias;
        Ok(Layer {
            input_norm: self.norm("input_layernorm")?,
            query: linear("self_attn.q_proj", [hidden_size, queries], bias)?,
            key: linear("self_attn.k_proj", [hidden_size, keys], bias)?,
            value: linear("self_attn.v_proj", [hidden_size, keys], bias)?,
            output: linear("self_attn.o_proj", [queries, hidden_size], self.config.output_bias)?,
            heads: Heads { query: heads as i64, key: key_heads as i64, width: head_width as i64 },
            window: self.config.windows[self.layer].map(|window| window as i64),
            middle_norm: self.norm("post_attention_layernorm")?,
            gate: linear("mlp.gate_proj", [hidden_size, intermediate_size], self.config.mlp_bias)?,
            up: linear("mlp.up_proj", [hidden_size, intermediate_size], self.config.mlp_bias)?,
            down: linear("mlp.down_proj", [intermediate_size, hidden_size], self.config.mlp_bias)?,
            activation: self.config.activation,
        })
    }
}

impl Backbone for Llama {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn linears(&self) -> &[LinearSite] {
        &self.sites
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["q_proj", "v_proj"]
    }

    fn other_modules(&self) -> &'static [&'static str] {
        &[
            "embed_tokens",
            "input_layernorm",
            "layers",
            "lm_head",
            "mlp",
            "norm",
            "post_attention_layernorm",
            "self_attn",
        ]
    }

    fn graph_floats_per_token(&self) -> usize {
        self.graph_floats
    }

    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError> {
        let x = self.walk(batch, lora, pooling::picks(batch, pooling), &mut unseen)?;
        Ok(pooling::pool(&x, batch, pooling)?)
    }

    fn hidden_states(&self, batch: &Packed, visit: &mut Visit) -> Result<(), ModelError> {
        drop(self.walk(batch, None, None, visit)?);
        Ok(())
    }
}
