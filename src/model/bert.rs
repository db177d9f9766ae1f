//! BERT (arXiv 1810.04805), MiniLM (arXiv 2002.10957) and RoBERTa (arXiv 1907.11692): post-norm encoders.
//! Follows transformers' `modeling_bert.py` and `modeling_roberta.py`, on packed tokens and with S adapter sets at once.
//!
//! Shapes: t packed tokens (or b inputs past the pool), s adapter sets (1 while nothing has set them apart), h width,
//! g inputs of one length l, d width of an attention head.

use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::model::attention;
use crate::model::attention::Heads;
use crate::model::attention::Mask;
use crate::model::attention::Projected;
use crate::model::backbone::Backbone;
use crate::model::backbone::BackboneInfo;
use crate::model::backbone::Placement;
use crate::model::backbone::Visit;
use crate::model::backbone::unseen;
use crate::model::config::bert::BertConfig;
use crate::model::error::ModelError;
use crate::model::error::TchResult;
use crate::model::layers::Norm;
use crate::model::layers::NormSize;
use crate::model::linear::Linear;
use crate::model::linear::LinearLoader;
use crate::model::lora_pass::LoraPass;
use crate::model::packing::Packed;
use crate::model::pooling;
use crate::model::post_norm::PostNorm;
use crate::model::post_norm::PostNormSizes;
use crate::model::sites::LinearSite;
use crate::model::weights::Weights;

struct Embeddings {
    words: Tensor,     // (vocab, h)
    positions: Tensor, // (positions, h)
    types: Tensor,     // (types, h)
    norm: Norm,
    first_position: i64,
}

impl Embeddings {
    fn new(weights: &Weights, config: &BertConfig, placement: Placement) -> Result<Self, ModelError> {
        let table = |name: &str, rows: usize| {
            let shape = [rows as i64, config.hidden_size as i64];
            weights.get(&format!("embeddings.{name}_embeddings.weight"), &shape, Kind::Float, placement.device)
        };
        let size = NormSize { width: config.hidden_size, eps: config.norm_eps };
        Ok(Self {
            words: table("word", config.vocab_size)?,
            positions: table("position", config.positions)?,
            types: table("token_type", config.token_types)?,
            norm: Norm::layer(weights, "embeddings.LayerNorm", size, placement)?,
            first_position: config.first_position as i64,
        })
    }

    fn forward(&self, batch: &Packed) -> TchResult<Tensor> {
        let words = self.words.f_index_select(0, &batch.ids)?; // (t, h)
        let types = match &batch.types {
            Some(types) => self.types.f_index_select(0, types)?, // (t, h)
            None => self.types.f_narrow(0, 0, 1)?,               // (1, h)
        };
        let rows = batch.positions.f_add_scalar(self.first_position)?; // (t)
        let x = words.f_add(&types)?.f_add(&self.positions.f_index_select(0, &rows)?)?;
        self.norm.forward(&x)?.f_unsqueeze(1) // (t, 1, h)
    }
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    heads: Heads,
}

impl Attention {
    /// Each of `asking` attends to all tokens of its input in `x`. `asking` is `x` itself, or one token an input.
    fn forward(&self, asking: &Tensor, x: &Tensor, batch: &Packed, lora: Option<&LoraPass>) -> TchResult<Tensor> {
        let projected = Projected {
            query: self.query.forward(asking, lora)?, // (t or b, s, h)
            key: self.key.forward(x, lora)?,          // (t, s, h)
            value: self.value.forward(x, lora)?,      // (t, s, h)
        };
        let attend = |heads: &attention::GroupHeads| attention::dot_product(heads, &Mask::None, None);
        attention::by_group(&projected, self.heads, batch, attend) // (t or b, s, h)
    }
}

struct Layer {
    attention: Attention,
    rest: PostNorm,
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
        self.rest.forward(&attended, &residual, lora)
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
    pub fn new(config: BertConfig, mut weights: Weights, placement: Placement) -> Result<Self, ModelError> {
        weights.settle_prefix(&["bert.", "roberta.", "model."], "embeddings.word_embeddings.weight")?;
        let mut builder = Builder { config: &config, linears: LinearLoader::new(&weights, placement) };
        let layers = (0..config.layers).map(|layer| builder.layer(layer)).collect::<Result<Vec<_>, _>>()?;
        let sites = builder.linears.sites;
        let embeddings = Embeddings::new(&weights, &config, placement)?;
        Ok(Self {
            info: BackboneInfo {
                family: config.family.clone(),
                hidden_size: config.hidden_size,
                layers: config.layers,
                levels: config.layers + 1,
                max_tokens: config.positions - config.first_position,
                vocab_size: config.vocab_size,
                token_types: config.token_types,
                eos: None,
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

impl Bert {
    /// Runs the layers until `visit` breaks off, and gives the last level that it came to. `picks`, where given, are the only tokens that
    /// the last layer is asked for.
    fn walk(
        &self,
        batch: &Packed,
        lora: Option<&LoraPass>,
        picks: Option<&Tensor>,
        visit: &mut Visit,
    ) -> TchResult<Tensor> {
        let mut x = {
            let _frozen = tch::no_grad_guard();
            self.embeddings.forward(batch)? // (t, 1, h)
        };
        let mut flow = visit(0, &x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if flow.is_break() {
                break;
            }
            let is_last = index + 1 == self.layers.len();
            x = layer.forward(&x, batch, lora, picks.filter(|_| is_last))?; // (t, s, h); (b, s, h) past the pool
            flow = visit(index + 1, &x)?;
        }
        Ok(x)
    }
}

struct Builder<'a> {
    config: &'a BertConfig,
    linears: LinearLoader<'a>,
}

impl Builder<'_> {
    fn layer(&mut self, layer: usize) -> Result<Layer, ModelError> {
        let path = format!("encoder.layer.{layer}");
        let BertConfig { hidden_size: hidden, intermediate_size: inner, heads, activation, norm_eps, .. } =
            *self.config;
        let mut square =
            |name: &str| self.linears.linear(format!("{path}.attention.self.{name}"), [hidden, hidden], true);
        let attention = Attention {
            query: square("query")?,
            key: square("key")?,
            value: square("value")?,
            heads: Heads::even(heads, hidden / heads),
        };
        let sizes = PostNormSizes { hidden, inner, activation, norm_eps };
        let rest = PostNorm::new(&mut self.linears, &path, sizes)?;
        Ok(Layer { attention, rest })
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
