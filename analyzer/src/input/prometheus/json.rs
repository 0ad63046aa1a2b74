//! The answer to `query_range`: a matrix of series, or an error.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Fault, Sample, Series, number};

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Value>,
    error: Option<String>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    result: Value,
}

#[derive(Deserialize)]
struct Matrix {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<(f64, String)>,
}

pub(super) fn series(text: &str) -> Result<Vec<Series>, Fault> {
    let other = |error: serde_json::Error| match error.is_eof() {
        true => Fault::Cut { line: error.line() },
        false => Fault::OtherJson {
            what: error.to_string(),
        },
    };
    let answer: Answer = serde_json::from_str(text).map_err(other)?;
    if answer.status != "success" {
        return Err(Fault::Answer {
            kind: answer.error_type.unwrap_or_else(|| answer.status.clone()),
            message: answer.error.unwrap_or_else(|| "no reason given".to_owned()),
        });
    }
    let data = answer.data.ok_or_else(|| Fault::OtherJson {
        what: "no key \"data\"".to_owned(),
    })?;
    let data: Data = serde_json::from_value(data).map_err(other)?;
    if data.result_type != "matrix" {
        return Err(Fault::NotMatrix {
            found: data.result_type,
        });
    }
    let matrix: Vec<Matrix> = serde_json::from_value(data.result).map_err(other)?;
    matrix.into_iter().map(one).collect()
}

fn one(mut matrix: Matrix) -> Result<Series, Fault> {
    let name = matrix.metric.remove("__name__").unwrap_or_default();
    let points = matrix.values.iter().map(|(seconds, text)| {
        let value = number(text, || format!("series {name}, at {seconds}"))?;
        Ok(Sample {
            at_us: Some((seconds * 1e6).round() as i64),
            value,
        })
    });
    let points = points.collect::<Result<_, Fault>>()?;
    Ok(Series {
        name,
        labels: matrix.metric,
        points,
    })
}
