//! What looks like a label. Owns the one list of names that no file, request or schema may carry; must never see values.

/// Names under which people keep labels, in lower case without separators.
const LABEL_NAMES: &[&str] = &[
    "label",
    "labels",
    "labelid",
    "labelids",
    "target",
    "targets",
    "y",
    "ytrue",
    "class",
    "classes",
    "classid",
    "category",
    "categories",
    "answer",
    "answers",
    "completion",
    "completions",
    "gold",
    "goldlabel",
    "groundtruth",
    "sentiment",
    "score",
    "scores",
    "stars",
    "rating",
    "outcome",
    "diagnosis",
    "chosen",
    "rejected",
    "preferred",
    "nonpreferred",
    "preferredoutput",
    "nonpreferredoutput",
    "response",
    "output",
];

/// Whether a key or column looks like a label: `label`, `Labels`, `gold_label`, `target`, `y`, `completion`, and so on.
pub fn is_label_name(name: &str) -> bool {
    let plain: String = name.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect();
    LABEL_NAMES.contains(&plain.as_str()) || plain.starts_with("label") || plain.ends_with("label")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_labels_are_known_however_they_are_written() {
        for name in [
            "label",
            "Label",
            "LABELS",
            "label_id",
            "gold-label",
            "is_label",
            "target",
            "y",
            "Y",
            "completion",
            "ground truth",
        ] {
            assert!(is_label_name(name), "{name}");
        }
        for name in ["text", "text_pair", "input_ids", "id", "sentence", "lengths", "seq"] {
            assert!(!is_label_name(name), "{name}");
        }
    }
}
