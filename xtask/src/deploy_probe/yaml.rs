//! Objects as YAML: keys sorted, so that the same objects always give the same text.

use anyhow::Context as _;
use serde_json::Value;

/// One document.
pub fn document(object: &Value) -> anyhow::Result<String> {
    let mut sorted = object.clone();
    sorted.sort_all_objects();
    let mut text = serde_saphyr::to_string(&sorted).context("an object as YAML")?;
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Several documents in one text.
pub fn documents(objects: &[Value]) -> anyhow::Result<String> {
    let documents = objects.iter().map(document);
    Ok(documents.collect::<anyhow::Result<Vec<_>>>()?.join("---\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn text_that_looks_like_something_else_stays_text() {
        let object = json!({
            "true": "true", "no": "no", "empty": "", "number": "1", "percent": "100%",
            "float": "1.0", "null": "null", "colon": "a: b", "address": "0.0.0.0:9478",
            "lines": "one\ntwo\n", "really": true, "count": 3,
        });
        let text = document(&object).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read, object, "{text}");
    }
}
