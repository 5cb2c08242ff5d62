//! From energy to CO₂: a fixed factor with a name, set by the operator and never looked up from an address.

use std::fmt;
use std::str::FromStr;

/// Grams of CO₂ for a kilowatt-hour of electricity, with where the number comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct GridFactor {
    /// Place, year and source.
    pub name: String,
    /// Grams of CO₂ per kilowatt-hour.
    pub grams_per_kwh: f64,
}

impl Default for GridFactor {
    /// The world's average of 2019 by the International Energy Agency, which codecarbon falls back to as well.
    fn default() -> Self {
        Self { name: "world average 2019, IEA".to_owned(), grams_per_kwh: 475.0 }
    }
}

impl GridFactor {
    /// Grams of CO₂ for an amount of energy in watt-hours.
    #[must_use]
    pub fn grams(&self, watt_hours: f64) -> f64 {
        watt_hours / 1000.0 * self.grams_per_kwh
    }
}

impl fmt::Display for GridFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.grams_per_kwh)
    }
}

/// A text that is no grid factor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grid factor is NAME=GRAMS_PER_KWH with place, year and source in the name, such as \"France 2023, Our World in Data=56\"; {0}")]
pub struct GridFactorError(String);

impl FromStr for GridFactor {
    type Err = GridFactorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |problem: &str| GridFactorError(problem.to_owned());
        let (name, number) = text.rsplit_once('=').ok_or_else(|| error("the `=` is missing"))?;
        let name = name.trim();
        if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
            return Err(error("the name must have 1 to 200 printable characters"));
        }
        let grams_per_kwh: f64 = number.trim().parse().map_err(|_| error("what follows the `=` is no number"))?;
        // Coal plants emit about 1,000 g/kWh; a number in kilograms or pounds would be far off.
        if !(0.0..=3000.0).contains(&grams_per_kwh) {
            return Err(error("the number must be between 0 and 3000 g/kWh"));
        }
        Ok(Self { name: name.to_owned(), grams_per_kwh })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_read_with_their_names() {
        let factor: GridFactor = "France 2023, Our World in Data=56.039".parse().unwrap();
        assert_eq!((factor.name.as_str(), factor.grams(1000.0)), ("France 2023, Our World in Data", 56.039));
        assert_eq!(factor.to_string().parse::<GridFactor>().unwrap(), factor);
        assert_eq!(GridFactor::default().grams(2000.0), 950.0);
        for bad in ["475", "=475", "x=", "x=-1", "x=NaN", "x=inf", "x=1e9", "a\nb=1"] {
            assert!(bad.parse::<GridFactor>().is_err(), "{bad}");
        }
    }
}
