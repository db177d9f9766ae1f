//! What work costs, by the operator's table. Owns the one formula; must never know whose work it is.

use serde::Deserialize;

/// Section `[prices]` of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Prices {
    /// `EUR`, for example. Empty: there are no prices.
    pub currency: String,
    /// Of a million tokens of training steps.
    pub training_tokens: f64,
    /// Of a million tokens of evaluations, activations, embeddings and feature jobs.
    pub inference_tokens: f64,
    /// Of an hour of the device.
    pub device_hour: f64,
}

/// What was done, as far as it has a price.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Work {
    /// Tokens of training steps: of a forward, and of a backward once for each share number.
    pub training_tokens: f64,
    /// Tokens of everything else.
    pub inference_tokens: f64,
    /// Time of the device.
    pub device_seconds: f64,
}

impl Prices {
    /// The currency, where there are prices.
    pub fn currency(&self) -> Option<&str> {
        Some(self.currency.as_str()).filter(|currency| !currency.is_empty())
    }

    /// What the work costs, in the currency, to a millionth of it; `None` where there are no prices.
    pub fn cost(&self, work: &Work) -> Option<f64> {
        self.currency()?;
        let cost = work.training_tokens / 1e6 * self.training_tokens
            + work.inference_tokens / 1e6 * self.inference_tokens
            + work.device_seconds / 3600.0 * self.device_hour;
        Some((cost * 1e6).round() / 1e6)
    }

    /// What is wrong with the table, by the names of the configuration.
    pub fn problems(&self) -> Vec<String> {
        let named = [
            ("training_tokens", self.training_tokens),
            ("inference_tokens", self.inference_tokens),
            ("device_hour", self.device_hour),
        ];
        let wrong = named.iter().filter(|(_, price)| !(price.is_finite() && *price >= 0.0));
        let mut problems: Vec<String> =
            wrong.map(|(name, price)| format!("prices.{name}: must be 0 or more, not {price}")).collect();
        let is_code = self.currency.len() == 3 && self.currency.chars().all(|letter| letter.is_ascii_uppercase());
        if !self.currency.is_empty() && !is_code {
            problems
                .push("prices.currency: must be a code of three letters as ISO 4217 has them (EUR), or empty".into());
        }
        if self.currency.is_empty() && named.iter().any(|(_, price)| *price != 0.0) {
            problems.push("prices.currency: must be set where there is a price".into());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_costs_what_the_table_says_and_nothing_without_one() {
        let prices = Prices { currency: "EUR".into(), training_tokens: 2.0, inference_tokens: 0.5, device_hour: 3.6 };
        let work = Work { training_tokens: 1_500_000.0, inference_tokens: 4e6, device_seconds: 100.0 };
        assert_eq!(prices.cost(&work), Some(3.0 + 2.0 + 0.1));
        assert_eq!(prices.cost(&Work::default()), Some(0.0));
        assert_eq!(Prices::default().cost(&work), None);
        assert_eq!(prices.problems(), Vec::<String>::new());
        assert_eq!(Prices::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn a_table_that_cannot_be_is_named_field_by_field() {
        let euros = |price| Prices { currency: "EUR".into(), device_hour: price, ..Prices::default() };
        for price in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(euros(price).problems()[0].starts_with("prices.device_hour"), "{price}");
        }
        for currency in ["euro", "eur", "E"] {
            let named = Prices { currency: currency.into(), ..Prices::default() };
            assert!(named.problems()[0].starts_with("prices.currency"), "{currency}");
        }
        let nameless = Prices { device_hour: 1.0, ..Prices::default() };
        assert!(nameless.problems()[0].starts_with("prices.currency"));
    }
}
