//! A field of the configuration that keeps its position and, if its value is wrong, the mistake: reading goes on, so
//! that one run reports all mistakes.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::text::Span;

/// One value, as the user gave it.
#[derive(Debug, Default)]
pub(super) enum Field<T> {
    /// It was not given.
    #[default]
    Absent,
    /// It was given and is right.
    Given {
        /// The value.
        value: T,
        /// Where.
        at: Span,
    },
    /// It was given and is wrong.
    Wrong {
        /// Why.
        message: String,
        /// Where.
        at: Span,
    },
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Field<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Spanned::<toml::Value>::deserialize(deserializer)?;
        let at = raw.span();
        Ok(match T::deserialize(raw.into_inner()) {
            Ok(value) => Self::Given { value, at },
            Err(error) => Self::Wrong { message: error.message().to_owned(), at },
        })
    }
}

impl<T: JsonSchema> JsonSchema for Field<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A list that may be written as its only element: `ip = "10.0.1.7"`.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct OneOrMany<T>(pub(super) Vec<Field<T>>);

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Field<T>>();
        let many = generator.subschema_for::<Vec<Field<T>>>();
        schemars::json_schema!({ "anyOf": [one, many] })
    }
}
