//! DeBERTa v2 (arXiv 2006.03654) and v3 (arXiv 2111.09543): post-norm encoders with disentangled attention, in which a token's content
//! and its relative position attend to each other. Follows transformers' `modeling_deberta_v2.py`, on packed tokens and with S
//! adapter sets at once.
//!
//! Shapes: t packed tokens (or b inputs past the pool), s adapter sets (1 while nothing has set them apart), h width, g inputs of
//! one length l, d width of a head, r rows of the table of relative positions.

use tch::Kind;
use tch::Tensor;

use crate::domain::settings::Pooling;
use crate::model::attention;
use crate::model::attention::GroupHeads;
use crate::model::attention::Heads;
use crate::model::attention::Projected;
use crate::model::backbone::Backbone;
use crate::model::backbone::BackboneInfo;
use crate::model::backbone::Placement;
use crate::model::backbone::Visit;
use crate::model::backbone::unseen;
use crate::model::config::deberta_v2::DebertaV2Config;
use crate::model::config::deberta_v2::RelativePositions;
use crate::model::config::fields::Activation;
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
    words: Tensor,              // (vocab, e)
    positions: Option<Tensor>,  // (positions, e)
    types: Option<Tensor>,      // (types, e)
    projection: Option<Tensor>, // (h, e)
    norm: Norm,
}

impl Embeddings {
    fn new(weights: &Weights, config: &DebertaV2Config, placement: Placement) -> Result<Self, ModelError> {
        let width = config.embedding_size as i64;
        let get = |name: &str, shape: [i64; 2]| {
            weights.get(&format!("embeddings.{name}.weight"), &shape, Kind::Float, placement.device)
        };
        let table = |name: &str, rows: usize, is_there: bool| {
            is_there.then(|| get(&format!("{name}_embeddings"), [rows as i64, width])).transpose()
        };
        let shape = [config.vocab_size as i64, width];
        let projected = config.embedding_size != config.hidden_size;
        let size = NormSize { width: config.hidden_size, eps: config.norm_eps };
        Ok(Self {
            words: weights.get_stored("embeddings.word_embeddings.weight", &shape, placement.device)?,
            positions: table("position", config.positions, config.absolute_positions)?,
            types: table("token_type", config.token_types, config.token_types > 0)?,
            projection: projected.then(|| get("embed_proj", [config.hidden_size as i64, width])).transpose()?,
            norm: Norm::layer(weights, "embeddings.LayerNorm", size, placement)?,
        })
    }

    fn forward(&self, batch: &Packed) -> TchResult<Tensor> {
        let mut x = self.words.f_index_select(0, &batch.ids)?.f_to_kind(Kind::Float)?; // (t, e)
        if let Some(positions) = &self.positions {
            x = x.f_add(&positions.f_index_select(0, &batch.positions)?)?;
        }
        if let Some(table) = &self.types {
            let types = match &batch.types {
                Some(types) => table.f_index_select(0, types)?, // (t, e)
                None => table.f_narrow(0, 0, 1)?,               // (1, e)
            };
            x = x.f_add(&types)?;
        }
        if let Some(projection) = &self.projection {
            x = x.f_linear(projection, None::<&Tensor>)?; // (t, h)
        }
        self.norm.forward(&x)?.f_unsqueeze(1) // (t, 1, h)
    }
}

/// Rows of the table of relative positions.
struct Relative {
    table: Tensor, // (2 * span, 1, h)
    settings: RelativePositions,
}

impl Relative {
    fn new(
        weights: &Weights,
        settings: &RelativePositions,
        size: NormSize,
        placement: Placement,
    ) -> Result<Self, ModelError> {
        let shape = [2 * settings.span as i64, size.width as i64];
        let table = weights.get("encoder.rel_embeddings.weight", &shape, Kind::Float, placement.device)?;
        let table = if settings.norm {
            Norm::layer(weights, "encoder.LayerNorm", size, placement)?.forward(&table)?
        } else {
            table
        };
        Ok(Self { table: table.f_unsqueeze(1)?, settings: settings.clone() })
    }

    /// transformers' `make_log_bucket_position`: near distances as they are, far ones by their logarithm. Integers `[n]`.
    fn buckets(&self, distances: &Tensor) -> TchResult<Tensor> {
        let RelativePositions { buckets, max_distance, .. } = self.settings;
        if buckets == 0 {
            return Ok(distances.shallow_clone());
        }
        let middle = (buckets / 2) as i64;
        let near = distances.f_abs()?.f_lt(middle)?;
        let far = distances.f_abs()?.f_masked_fill(&near, middle - 1)?;
        // As a tensor, so that the farthest distance divides to exactly 1 and is not rounded up a bucket.
        let most = Tensor::f_full([1], (max_distance - 1) as f64 / middle as f64, (Kind::Float, distances.device()))?;
        let logarithm = far.f_to_kind(Kind::Float)?.f_div_scalar(middle)?.f_log()?.f_div(&most.f_log()?)?;
        let grown = logarithm.f_mul_scalar(middle - 1)?.f_ceil()?.f_add_scalar(middle)?;
        let grown = grown.f_mul(&distances.f_sign()?.f_to_kind(Kind::Float)?)?.f_to_kind(Kind::Int64)?;
        distances.f_where_self(&far.f_le(middle)?, &grown)
    }

    /// Rows of the table for the distances -(l - 1) to l - 1, first for c2p, then for p2c `[2l - 1]`.
    fn rows(&self, length: i64) -> TchResult<[Tensor; 2]> {
        let distances = Tensor::f_arange_start(1 - length, length, (Kind::Int64, self.table.device()))?;
        let buckets = self.buckets(&distances)?;
        let span = self.settings.span as i64;
        let row = |buckets: &Tensor| buckets.f_add_scalar(span)?.f_clamp(0, 2 * span - 1);
        Ok([row(&buckets)?, row(&buckets.f_neg()?)?])
    }
}

/// The table through a layer's projections, `[r, s or 1, h]`.
struct Positions {
    key: Option<Tensor>,
    query: Option<Tensor>,
}

struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    position_key: Option<Linear>,
    position_query: Option<Linear>,
    heads: Heads,
}

impl Attention {
    /// Each of `asking` attends to all tokens of its input in `x`. `asking` is `x` itself, or one token an input.
    fn forward(&self, asking: &Tensor, x: &Tensor, pass: &Pass) -> TchResult<Tensor> {
        let projected = Projected {
            query: self.query.forward(asking, pass.lora)?, // (t or b, s, h)
            key: self.key.forward(x, pass.lora)?,          // (t, s, h)
            value: self.value.forward(x, pass.lora)?,      // (t, s, h)
        };
        let positions = self.positions(pass)?;
        attention::by_group(&projected, self.heads, pass.batch, |heads| self.attend(heads, &positions, pass))
    }

    fn positions(&self, pass: &Pass) -> TchResult<Positions> {
        let Some(relative) = pass.relative else { return Ok(Positions { key: None, query: None }) };
        let project = |own: &Option<Linear>, shared: &Linear, is_on: bool| {
            let linear = own.as_ref().unwrap_or(shared);
            is_on.then(|| linear.forward(&relative.table, pass.lora)).transpose()
        };
        let RelativePositions { c2p, p2c, .. } = relative.settings;
        Ok(Positions {
            key: project(&self.position_key, &self.key, c2p)?,
            query: project(&self.position_query, &self.query, p2c)?,
        })
    }

    fn attend(&self, heads: &GroupHeads, positions: &Positions, pass: &Pass) -> TchResult<Tensor> {
        let GroupHeads { query, key, value, .. } = heads;
        let parts = 1 + usize::from(positions.key.is_some()) + usize::from(positions.query.is_some());
        let scale = 1.0 / (self.heads.width as f64 * parts as f64).sqrt();
        let query = query.f_mul_scalar(scale)?;
        let mut scores = query.f_matmul(&key.f_transpose(-1, -2)?)?; // (g, s * heads, l or 1, l)
        if let Some(relative) = pass.relative {
            let [c2p, p2c] = relative.rows(heads.group.length)?;
            if let Some(table) = &positions.key {
                let found = query.f_matmul(&self.table(table, &c2p, heads)?)?; // (g, s * heads, l or 1, 2l - 1)
                scores = scores.f_add(&shift(&found, heads, pass, Shift::FromQueries)?)?;
            }
            if let Some(table) = &positions.query {
                let found = key.f_mul_scalar(scale)?.f_matmul(&self.table(table, &p2c, heads)?)?; // (g, s * heads, l, 2l - 1)
                scores = scores.f_add(&shift(&found, heads, pass, Shift::FromKeys)?)?;
            }
        }
        scores.f_to_kind(Kind::Float)?.f_softmax(-1, Kind::Float)?.f_to_kind(value.kind())?.f_matmul(value)
    }

    /// `rows` of a projected table as heads: `[1, s * heads, d, 2l - 1]`.
    fn table(&self, table: &Tensor, rows: &Tensor, heads: &GroupHeads) -> TchResult<Tensor> {
        let sets = heads.query.size().get(1).copied().unwrap_or(1) / self.heads.query;
        let table = table.f_index_select(0, rows)?; // (2l - 1, s or 1, h)
        let (count, _, width) = table.size3()?;
        let table = table.f_expand([count, sets, width], false)?;
        table.f_reshape([1, count, sets * self.heads.query, self.heads.width])?.f_permute([0, 2, 3, 1])
    }
}

/// Whose distances the last dimension of what was found counts.
#[derive(Clone, Copy, PartialEq)]
enum Shift {
    /// Rows are queries.
    FromQueries,
    /// Rows are keys, and distances are counted from them.
    FromKeys,
}

/// Picks, for each query i and key j, the entry of their distance out of `found` `[.., rows, 2l - 1]`: `[.., l or 1, l]`.
fn shift(found: &Tensor, heads: &GroupHeads, pass: &Pass, from: Shift) -> TchResult<Tensor> {
    let length = heads.group.length;
    let (inputs, count, _, _) = found.size4()?;
    let positions = Tensor::f_arange(length, (Kind::Int64, found.device()))?;
    let asking = match (heads.picked, pass.picked_last) {
        (false, _) => positions.shallow_clone(),
        (true, false) => positions.f_narrow(0, 0, 1)?,
        (true, true) => positions.f_narrow(0, length - 1, 1)?,
    };
    let [rows, columns] = match from {
        Shift::FromQueries => [&asking, &positions],
        Shift::FromKeys => [&positions, &asking],
    };
    let index = rows.f_unsqueeze(1)?.f_sub(&columns.f_unsqueeze(0)?)?.f_add_scalar(length - 1)?; // (rows, columns)
    let shape = [inputs, count, rows.size1()?, columns.size1()?];
    let picked = found.f_gather(-1, &index.f_expand(shape, false)?, false)?;
    if from == Shift::FromKeys { picked.f_transpose(-1, -2) } else { Ok(picked) }
}

struct Layer {
    attention: Attention,
    rest: PostNorm,
}

impl Layer {
    /// `picks`, where given, are the only tokens whose outputs are asked for.
    fn forward(&self, x: &Tensor, pass: &Pass, picks: Option<&Tensor>) -> TchResult<Tensor> {
        let residual = match picks {
            Some(picks) => x.f_index_select(0, picks)?, // (b, s, h)
            None => x.shallow_clone(),                  // (t, s, h)
        };
        let attended = self.attention.forward(&residual, x, pass)?;
        self.rest.forward(&attended, &residual, pass.lora)
    }
}

/// The convolution beside the first layer, as in xxlarge.
struct Convolution {
    weight: Tensor, // (h, h / groups, kernel)
    bias: Tensor,
    kernel: i64,
    groups: i64,
    activation: Activation,
    norm: Norm,
}

impl Convolution {
    /// Adds to the first layer's output `[t, s, h]` what the convolution makes of its input `[t, 1, h]`, input by input.
    fn forward(&self, x: &Tensor, first: &Tensor, batch: &Packed) -> TchResult<Tensor> {
        let parts = x.f_squeeze_dim(1)?.f_split_with_sizes(batch.group_tokens(), 0)?;
        let convolved = parts.iter().zip(&batch.groups).map(|(part, group)| {
            let part = part.f_view([group.inputs, group.length, -1])?.f_transpose(1, 2)?; // (g, h, l)
            let out = part.f_conv1d(&self.weight, Some(&self.bias), 1, self.kernel / 2, 1, self.groups)?;
            out.f_transpose(1, 2)?.f_flatten(0, 1) // (g * l, h)
        });
        let convolved = Tensor::f_cat(&convolved.collect::<TchResult<Vec<_>>>()?, 0)?; // (t, h)
        let convolved = self.activation.forward(&convolved)?.f_unsqueeze(1)?;
        self.norm.forward(&first.f_add(&convolved)?)
    }
}

/// What every layer of one pass needs.
struct Pass<'a> {
    batch: &'a Packed,
    lora: Option<&'a LoraPass>,
    relative: Option<&'a Relative>,
    /// Whether a picked query is its input's last token, not its first.
    picked_last: bool,
}

/// A DeBERTa encoder.
pub struct DebertaV2 {
    info: BackboneInfo,
    sites: Vec<LinearSite>,
    embeddings: Embeddings,
    relative: Option<Relative>,
    layers: Vec<Layer>,
    convolution: Option<Convolution>,
    graph_floats: usize,
    // Last, so that it is dropped after the tensors that point into it.
    _weights: Weights,
}

impl DebertaV2 {
    /// Builds the encoder from the weights of its folder.
    pub fn new(config: DebertaV2Config, mut weights: Weights, placement: Placement) -> Result<Self, ModelError> {
        weights.settle_prefix(&["deberta."], "embeddings.word_embeddings.weight")?;
        let mut linears = LinearLoader::new(&weights, placement);
        let builder = Builder { config: &config, weights: &weights, placement };
        let layers =
            (0..config.layers).map(|layer| builder.layer(layer, &mut linears)).collect::<Result<Vec<_>, _>>()?;
        let sites = linears.sites;
        let size = NormSize { width: config.hidden_size, eps: config.norm_eps };
        let relative = config.relative.as_ref().map(|settings| Relative::new(&weights, settings, size, placement));
        Ok(Self {
            info: BackboneInfo {
                family: "deberta-v2".to_owned(),
                hidden_size: config.hidden_size,
                layers: config.layers,
                levels: config.layers + 1,
                max_tokens: config.positions,
                vocab_size: config.vocab_size,
                token_types: config.token_types,
                eos: None,
                parameters: weights.parameters(),
                bytes: weights.bytes(),
            },
            sites,
            embeddings: Embeddings::new(&weights, &config, placement)?,
            relative: relative.transpose()?,
            layers,
            convolution: builder.convolution()?,
            // As BERT, with scores that are kept: about as many again for inputs of usual length.
            graph_floats: config.layers * (14 * config.hidden_size + config.intermediate_size),
            _weights: weights,
        })
    }
}

impl DebertaV2 {
    fn pass<'a>(&'a self, batch: &'a Packed, lora: Option<&'a LoraPass>, picked_last: bool) -> Pass<'a> {
        Pass { batch, lora, relative: self.relative.as_ref(), picked_last }
    }

    /// Runs the layers until `visit` breaks off, and gives the last level that it came to. `picks`, where given, are the only tokens that
    /// the last layer is asked for.
    fn walk(&self, pass: &Pass, picks: Option<&Tensor>, visit: &mut Visit) -> TchResult<Tensor> {
        let embedded = {
            let _frozen = tch::no_grad_guard();
            self.embeddings.forward(pass.batch)? // (t, 1, h)
        };
        let mut x = embedded.shallow_clone();
        let mut flow = visit(0, &x)?;
        for (index, layer) in self.layers.iter().enumerate() {
            if flow.is_break() {
                break;
            }
            let is_last = index + 1 == self.layers.len();
            let picks = picks.filter(|_| is_last);
            let convolution = self.convolution.as_ref().filter(|_| index == 0);
            // The convolution needs the first layer's output whole.
            x = layer.forward(&x, pass, picks.filter(|_| convolution.is_none()))?; // (t, s, h); (b, s, h) past the pool
            if let Some(convolution) = convolution {
                x = convolution.forward(&embedded, &x, pass.batch)?;
                if let Some(picks) = picks {
                    x = x.f_index_select(0, picks)?;
                }
            }
            flow = visit(index + 1, &x)?;
        }
        Ok(x)
    }
}

struct Builder<'a> {
    config: &'a DebertaV2Config,
    weights: &'a Weights,
    placement: Placement,
}

impl Builder<'_> {
    fn norm(&self, path: &str) -> Result<Norm, ModelError> {
        let size = NormSize { width: self.config.hidden_size, eps: self.config.norm_eps };
        Norm::layer(self.weights, path, size, self.placement)
    }

    fn layer(&self, layer: usize, linears: &mut LinearLoader) -> Result<Layer, ModelError> {
        let path = format!("encoder.layer.{layer}");
        let DebertaV2Config { hidden_size: hidden, intermediate_size: inner, activation, norm_eps, .. } = *self.config;
        let relative = self.config.relative.as_ref();
        let own = |is_on: fn(&RelativePositions) -> bool| relative.is_some_and(|set| !set.share_key && is_on(set));
        let mut square = |name: &str| linears.linear(format!("{path}.attention.self.{name}"), [hidden, hidden], true);
        let attention = Attention {
            query: square("query_proj")?,
            key: square("key_proj")?,
            value: square("value_proj")?,
            position_key: own(|set| set.c2p).then(|| square("pos_key_proj")).transpose()?,
            position_query: own(|set| set.p2c).then(|| square("pos_query_proj")).transpose()?,
            heads: Heads::even(self.config.heads, self.config.head_width),
        };
        let sizes = PostNormSizes { hidden, inner, activation, norm_eps };
        Ok(Layer { attention, rest: PostNorm::new(linears, &path, sizes)? })
    }

    fn convolution(&self) -> Result<Option<Convolution>, ModelError> {
        let Some(settings) = &self.config.convolution else { return Ok(None) };
        let hidden = self.config.hidden_size as i64;
        let kernel = settings.kernel as i64;
        let groups = settings.groups as i64;
        let get = |name: &str, shape: &[i64]| {
            self.weights.get(&format!("encoder.conv.conv.{name}"), shape, Kind::Float, self.placement.device)
        };
        Ok(Some(Convolution {
            weight: get("weight", &[hidden, hidden / groups, kernel])?,
            bias: get("bias", &[hidden])?,
            kernel,
            groups,
            activation: settings.activation,
            norm: self.norm("encoder.conv.LayerNorm")?,
        }))
    }
}

impl Backbone for DebertaV2 {
    fn info(&self) -> &BackboneInfo {
        &self.info
    }

    fn linears(&self) -> &[LinearSite] {
        &self.sites
    }

    fn default_targets(&self) -> &'static [&'static str] {
        &["query_proj", "value_proj"]
    }

    fn other_modules(&self) -> &'static [&'static str] {
        &[
            "LayerNorm",
            "attention",
            "conv",
            "embed_proj",
            "embeddings",
            "encoder",
            "intermediate",
            "layer",
            "output",
            "position_embeddings",
            "rel_embeddings",
            "self",
            "token_type_embeddings",
            "word_embeddings",
        ]
    }

    fn graph_floats_per_token(&self) -> usize {
        self.graph_floats
    }

    /// The table of relative positions goes through the updates too, once for each set: rows of it have no owner.
    fn stacks(&self) -> bool {
        self.relative.is_none()
    }

    fn forward(&self, batch: &Packed, lora: Option<&LoraPass>, pooling: Pooling) -> Result<Tensor, ModelError> {
        let pass = self.pass(batch, lora, pooling == Pooling::Last);
        let x = self.walk(&pass, pooling::picks(batch, pooling), &mut unseen)?;
        Ok(pooling::pool(&x, batch, pooling)?)
    }

    fn hidden_states(&self, batch: &Packed, visit: &mut Visit) -> Result<(), ModelError> {
        drop(self.walk(&self.pass(batch, None, false), None, visit)?);
        Ok(())
    }
}
