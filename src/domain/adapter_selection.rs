//! The adapter sets that a call asks for. Owns their written form (`all`, `none`, `0,1`) and the check against the sets that
//! there are; must never know a job.

/// The adapter sets that a forward runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterSelection {
    /// Every set of the job.
    All,
    /// These; empty for none.
    Some(Vec<usize>),
}

impl std::str::FromStr for AdapterSelection {
    type Err = BadSelection;

    fn from_str(text: &str) -> Result<Self, BadSelection> {
        match text {
            "all" => Ok(Self::All),
            "none" | "" => Ok(Self::Some(Vec::new())),
            list => {
                let numbers = list.split(',').map(|part| part.trim().parse()).collect::<Result<_, _>>();
                numbers.map(Self::Some).map_err(|_| BadSelection::Unreadable)
            }
        }
    }
}

impl AdapterSelection {
    /// The sets, for a job with `sets` of them; in order, without repeats.
    pub fn resolve(&self, sets: usize) -> Result<Vec<usize>, BadSelection> {
        let Self::Some(list) = self else { return Ok((0..sets).collect()) };
        let mut list = list.clone();
        list.sort_unstable();
        list.dedup();
        match list.iter().find(|set| **set >= sets) {
            Some(&set) => Err(BadSelection::Unknown { set, sets }),
            None => Ok(list),
        }
    }
}

/// Adapter sets that cannot be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadSelection {
    /// Not one of the written forms.
    #[error("adapters is 'all', 'none' or numbers such as '0,1'.")]
    Unreadable,
    /// A set that the job does not have.
    #[error("There is no adapter set {set}: this job has sets 0 to {}.", .sets - 1)]
    Unknown {
        /// The set.
        set: usize,
        /// How many there are.
        sets: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapters_are_all_none_or_numbers() {
        assert_eq!("all".parse::<AdapterSelection>().expect("ok").resolve(2), Ok(vec![0, 1]));
        assert_eq!("1,0,1".parse::<AdapterSelection>().expect("ok").resolve(2), Ok(vec![0, 1]));
        assert_eq!("none".parse::<AdapterSelection>().expect("ok").resolve(2), Ok(vec![]));
        assert!("2".parse::<AdapterSelection>().expect("ok").resolve(2).is_err());
        assert!("x".parse::<AdapterSelection>().is_err());
    }
}
