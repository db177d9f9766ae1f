//! `config.json` of each family: what is read, and what is refused.

use super::*;

fn tiny() -> Value {
    serde_json::json!({
        "model_type": "bert", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 10, "max_position_embeddings": 12, "pad_token_id": 1,
    })
}

#[test]
fn positions_start_at_zero_for_bert_and_after_the_padding_for_roberta() {
    for (family, first) in [("bert", 0), ("roberta", 2), ("xlm-roberta", 2)] {
        let mut value = tiny();
        value["model_type"] = family.into();
        let Config::Bert(config) = resolve(value).expect("supported") else { panic!("{family}") };
        assert_eq!(config.first_position, first, "{family}");
    }
}

#[test]
fn what_would_change_the_mathematics_is_refused_by_name() {
    let cases = [
        ("model_type", Value::from("gpt2")),
        ("position_embedding_type", "relative_key".into()),
        ("is_decoder", true.into()),
        ("add_cross_attention", true.into()),
        ("hidden_act", "mish".into()),
        ("num_attention_heads", 3.into()),
        ("hidden_size", 0.into()),
        ("max_position_embeddings", 0.into()),
    ];
    for (field, spoiled) in cases {
        let mut value = tiny();
        value[field] = spoiled;
        let text = resolve(value).expect_err(field).to_string();
        assert!(text.contains(field), "{text}");
    }
}

fn deberta() -> Value {
    serde_json::json!({
        "model_type": "deberta-v2", "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "vocab_size": 10, "max_position_embeddings": 12, "relative_attention": true,
        "position_buckets": 4, "pos_att_type": "c2p|p2c", "norm_rel_ebd": "layer_norm", "conv_kernel_size": 3,
    })
}

fn t5() -> Value {
    serde_json::json!({
        "model_type": "t5", "d_model": 8, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 2, "vocab_size": 10,
        "feed_forward_proj": "gated-gelu",
    })
}

fn llama(family: &str) -> Value {
    serde_json::json!({
        "model_type": family, "hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 16, "vocab_size": 10, "sliding_window": 4,
    })
}

/// Refused, and the refusal names the field.
fn assert_refused(base: fn() -> Value, cases: &[(&str, Value)]) {
    resolve(base()).expect("supported as it is");
    for (field, spoiled) in cases {
        let mut value = base();
        value[*field] = spoiled.clone();
        let text = resolve(value).expect_err(field).to_string();
        assert!(text.contains(field), "{field}: {text}");
    }
}

#[test]
fn each_family_refuses_what_it_does_not_support_by_the_field() {
    let rope = |kind: &str| serde_json::json!({"rope_type": kind, "factor": 2.0});
    assert_refused(
        deberta,
        &[
            ("pos_att_type", "p2p".into()),
            ("norm_rel_ebd", "rms".into()),
            ("conv_kernel_size", 4.into()),
            ("conv_groups", 3.into()),
            ("conv_act", "mish".into()),
            ("position_buckets", 64.into()),
            ("num_attention_heads", 3.into()),
        ],
    );
    assert_refused(
        t5,
        &[
            ("feed_forward_proj", "gated-mish".into()),
            ("relative_attention_num_buckets", 2.into()),
            ("relative_attention_max_distance", 3.into()),
            ("eos_token_id", 10.into()),
            ("d_kv", 0.into()),
        ],
    );
    assert_refused(
        || llama("llama"),
        &[
            ("num_key_value_heads", 3.into()),
            ("head_dim", 5.into()),
            ("pretraining_tp", 2.into()),
            ("rope_scaling", rope("yarn")),
            ("partial_rotary_factor", 0.5.into()),
            ("hidden_act", "mish".into()),
            ("quantization_config", serde_json::json!({"quant_method": "bitsandbytes"})),
        ],
    );
    assert_refused(|| llama("mistral"), &[("attention_bias", true.into()), ("sliding_window", 0.into())]);
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let mut value = llama("llama");
    value["num_hidden_layers"] = "three".into();
    assert!(resolve(value).expect_err("a word").to_string().contains("num_hidden_layers"));
}

fn windows(value: Value) -> Vec<Option<usize>> {
    let Config::Llama(config) = resolve(value).expect("supported") else { panic!("a decoder") };
    config.windows
}

#[test]
fn windows_slide_where_the_family_says() {
    assert_eq!(windows(llama("llama")), [None; 3]);
    assert_eq!(windows(llama("mistral")), [Some(4); 3]);
    assert_eq!(windows(llama("qwen2")), [None; 3]);
    let mut value = llama("qwen2");
    (value["use_sliding_window"], value["max_window_layers"]) = (true.into(), 1.into());
    assert_eq!(windows(value.clone()), [None, Some(4), Some(4)]);
    value["layer_types"] = serde_json::json!(["sliding_attention", "full_attention", "full_attention"]);
    assert_eq!(windows(value), [Some(4), None, None]);
}

#[test]
fn rotary_settings_are_read_in_their_old_and_new_places() {
    let llama3 = serde_json::json!({
        "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    });
    let mut old = llama("llama");
    (old["rope_theta"], old["rope_scaling"]) = (500_000.0.into(), llama3.clone());
    let mut new = llama("llama");
    new["rope_parameters"] = llama3;
    new["rope_parameters"]["rope_theta"] = 500_000.0.into();
    assert_eq!(resolve(old).expect("supported"), resolve(new).expect("supported"));
}
