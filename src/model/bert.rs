//! BERT (arXiv 1810.04805), MiniLM (arXiv 2002.10957) and RoBERTa (arXiv 1907.11692): post-norm encoders.
//! Follows transformers' `modeling_bert.py` and `modeling_roberta.py`, on packed tokens and with S adapter sets at once.
//!
//! Shapes: t packed tokens (or b inputs past the pool), s adapter sets (1 while nothing has set them apart), h width,
//! g inputs of one length l, d width of an attention head.

use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::domain::settings::Precision;
use crate::model::Backbone;
use crate::model::BackboneInfo;
use crate::model::ModelError;
use crate::model::TchResult;
use crate::model::config::Activation;
use crate::model::config::BertConfig;
use crate::model::lora::Linear;
use crate::model::lora::LinearSite;
use crate::model::lora::LoraPass;
use crate::model::packing::Packed;
use crate::model::pooling;
use crate::model::weights::Weights;

struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    fn new(weights: &Weights, path: &str, config: &BertConfig) -> Result<Self, ModelError> {
        let (weight, bias) = weights.norm(path, config.hidden_size as i64)?;
        Ok(Self { weight, bias, eps: config.norm_eps })
    }

    fn forward(&self, x: &Tensor) -> TchResult<Tensor> {
        x.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.eps, false)
    }
}

struct Embeddings {
    words: Tensor,     // (vocab, h)
    positions: Tensor, // (positions, h)
    types: Tensor,     // (types, h)
    norm: Norm,
    first_position: i64,
}

impl Embeddings {
    fn new(weights: &Weights, config: &BertConfig) -> Result<Self, ModelError> {
        let table = |name: &str, rows: usize| {
            weights.get(&format!("embeddings.{name}_embeddings.weight"), &[rows as i64, config.hidden_size as i64])
        };
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.positions)?,
            types: table("token_type", config.token_types)?,
            norm: Norm::new(weights, "embeddings.LayerNorm", config)?,
            first_position: config.first_position as i64,
        })
    }

    fn forward(&self, batch: &Packed) -> TchResult<Tensor> {
        let words = self.words.f_index_select(0, &batch.ids)?; // (t, h)
        let types = match &batch.types {
            Some(types) => self.types.f_index_select(0, types)?, // (t, h)
            None => self.types.f_narrow(0, 0, 1)?,               // (1, h)
        };
        let places = batch.positions.f_add_scalar(self.first_position)?; // (t)
        let x = words.f_add(&types)?.f_add(&self.positions.f_index_select(0, &places)?)?;
        self.norm.forward(&x)?.f_unsqueeze(1) // (t, 1, h)
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: i64,
}

impl Attention {
    /// Each of `asking` attends to all tokens of its input in `x`. `asking` is `x` itself, or one token an input.
    fn forward(&self, asking: &Tensor, x: &Tensor, batch: &Packed, lora: Option<&LoraPass>) -> TchResult<Tensor> {
        let query = self.query.forward(asking, lora)?; // (t or b, s, h)
        let key = self.key.forward(x, lora)?; // (t, s, h)
        let value = self.value.forward(x, lora)?; // (t, s, h)
        let sets = [&query, &key, &value].iter().filter_map(|x| x.size().get(1).copied()).max().unwrap_or(1);
        let pooled = asking.size().first() != x.size().first();
        let queries = query.f_split_with_sizes(if pooled { batch.group_inputs() } else { batch.group_tokens() }, 0)?;
        let keys = key.f_split_with_sizes(batch.group_tokens(), 0)?;
        let values = value.f_split_with_sizes(batch.group_tokens(), 0)?;
        let mut outputs = Vec::with_capacity(batch.groups.len());
        for (i, group) in batch.groups.iter().enumerate() {
            let [q, k, v] = [&queries[i], &keys[i], &values[i]];
            let q = self.split_heads(q, group.inputs, sets)?; // (g, s * heads, l or 1, d)
            let [k, v] = [self.split_heads(k, group.inputs, sets)?, self.split_heads(v, group.inputs, sets)?];
            let out = Tensor::f_scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false)?;
            let width = self.heads * out.size().last().copied().unwrap_or(0);
            outputs.push(out.f_transpose(1, 2)?.f_reshape([-1, sets, width])?); // (g * l or g, s, h)
        }
        Tensor::f_cat(&outputs, 0) // (t or b, s, h)
    }

    /// `[g * l, s or 1, h]` to `[g, s * heads, l, d]`: sets are treated as more heads, which costs no copy.
    fn split_heads(&self, x: &Tensor, inputs: i64, sets: i64) -> TchResult<Tensor> {
        let (tokens, _, width) = x.size3()?;
        let x = x.f_expand([tokens, sets, width], false)?;
        x.f_reshape([inputs, tokens / inputs, sets * self.heads, width / self.heads])?.f_transpose(1, 2)
    }
}

struct Layer {
    attention: Attention,
    attention_output: Linear,
    attention_norm: Norm,
    intermediate: Linear,
    activation: Activation,
    output: Linear,
    output_norm: Norm,
}

impl Layer {
    /// `picks`, where given, are the only tokens whose outputs are asked for.
    fn forward(
        &self,
        x: &Tensor,
        batch: &Packed,
        lora: Option<&LoraPass>,
        picks: Option<&Tensor>,
    ) -> TchResult<Tensor> {
        let residual = match picks {
            Some(picks) => x.f_index_select(0, picks)?, // (b, s, h)
            None => x.shallow_clone(),                  // (t, s, h)
        };
        let attended = self.attention.forward(&residual, x, batch, lora)?;
        let attended = self.attention_output.forward(&attended, lora)?;
        let x = self.attention_norm.forward(&attended.f_add(&residual)?)?;
        let inner = activate(&self.intermediate.forward(&x, lora)?, self.activation)?; // (t or b, s, intermediate)
        let output = self.output.forward(&inner, lora)?; // (t or b, s, h)
        self.output_norm.forward(&output.f_add(&x)?)
    }
}

fn activate(x: &Tensor, activation: Activation) -> TchResult<Tensor> {
    match activation {
        Activation::Gelu => x.f_gelu("none"),
        Activation::GeluTanh => x.f_gelu("tanh"),
        Activation::Relu => x.f_relu(),
        Activation::Silu => x.f_silu(),
    }
}

/// A BERT-like encoder.
pub struct Bert {
    info: BackboneInfo,
    sites: Vec<LinearSite>,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    graph_floats: usize,
    // Last, so that it is dropped after the tensors that point into it.
    _weights: Weights,
}

impl Bert {
    /// Builds the encoder from the weights of its folder.
    pub fn new(config: BertConfig, mut weights: Weights, precision: Precision) -> Result<Self, ModelError> {
        weights.settle_prefix(&["bert.", "roberta.", "model."], "embeddings.word_embeddings.weight")?;
        let mut builder = Builder { config: &config, weights: &weights, precision, sites: Vec::new() };
        let layers = (0..config.layers).map(|layer| builder.layer(layer)).collect::<Result<Vec<_>, _>>()?;
        let sites = builder.sites;
        let embeddings = Embeddings::new(&weights, &config)?;
        Ok(Self {
            info: BackboneInfo {
                family: config.family.clone(),
                hidden_size: config.hidden_size,
                layers: config.layers,
                max_tokens: config.positions - config.first_position,
                vocab_size: config.vocab_size,
                token_types: config.token_types,
                parameters: weights.parameters(),
                bytes: weights.bytes(),
            },
            sites,
            embeddings,
            layers,
            // Measured: 11 * h for a layer whose intermediate width is 4 * h.
            graph_floats: config.layers * (7 * config.hidden_size + config.intermediate_size),
            _weights: weights,
        })
    }
}

struct Builder<'a> {
    config: &'a BertConfig,
    weights: &'a Weights,
    precision: Precision,
    sites: Vec<LinearSite>,
}

impl Builder<'_> {
    fn linear(&mut self, name: String, inputs: usize, outputs: usize) -> Result<Linear, ModelError> {
        let site = LinearSite { name, inputs, outputs };
        let linear = Linear::new(self.weights, &site, self.sites.len(), self.precision)?;
        self.sites.push(site);
        Ok(linear)
    }

    fn layer(&mut self, layer: usize) -> Result<Layer, ModelError> {
        let path = |name: &str| format!("encoder.layer.{layer}.{name}");
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        Ok(Layer {
            attention: Attention {
                query: self.linear(path("attention.self.query"), hidden, hidden)?,
                key: self.linear(path("attention.self.key"), hidden, hidden)?,
                value: self.linear(path("attention.self.value"), hidden, hidden)?,
                heads: self.config.heads as i64,
            },
            attention_output: self.linear(path("attention.output.dense"), hidden, hidden)?,
            attention_norm: Norm::new(self.weights, &path("attention.output.LayerNorm"), self.config)?,
            intermediate: self.linear(path("intermediate.dense"), hidden, inner)?,
            activation: self.config.activation,
            output: self.linear(path("output.dense"), inner, hidden)?,
            output_norm: Norm::new(self.weights, &path("output.LayerNorm"), self.config)?,
        })
    }
}

impl Backbone for Bert {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn linears(&self) -> &[LinearSite] {
        &self.sites
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["query", "value"]
    }

    fn other_modules(&self) -> &'static [&'static str] {
        &[
            "LayerNorm",
            "attention",
            "embeddings",
            "encoder",
            "intermediate",
            "layer",
            "output",
            "pooler",
            "position_embeddings",
            "self",
            "token_type_embeddings",
            "word_embeddings",
        ]
    }

    fn check_pooling(&self, pooling: Pooling) -> Result<(), ModelError> {
        match pooling {
            Pooling::Eos => Err(ModelError::setting(
                "pooling",
                "'eos' is for encoder-decoder backbones; use cls, mean, last or none",
            )),
            Pooling::Cls | Pooling::Mean | Pooling::Last | Pooling::None => Ok(()),
        }
    }

    fn graph_floats_per_token(&self) -> usize {
        self.graph_floats
    }

    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError> {
        let mut x = {
            let _frozen = tch::no_grad_guard();
            self.embeddings.forward(batch)? // (t, 1, h)
        };
        for (place, layer) in self.layers.iter().enumerate() {
            let is_last = place + 1 == self.layers.len();
            let picks = if is_last { pooling::picks(batch, pooling) } else { None };
            x = layer.forward(&x, batch, lora, picks)?; // (t, s, h); (b, s, h) past the pool
        }
        Ok(pooling::pool(&x, batch, pooling)?)
    }
}
