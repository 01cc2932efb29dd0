//! JSON as YAML: block style for people, and nothing that a reader could take for something else.

use serde_json::Value;

/// Words that some reader takes for no text.
const RESERVED: &[&str] = &[
    "", "null", "true", "false", "yes", "no", "on", "off", "y", "n",
];

/// `value` as one document of YAML, without the `---` before it.
pub(crate) fn render(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Array(items) if !items.is_empty() => list(&mut text, items, 0),
        Value::Object(fields) if !fields.is_empty() => map(&mut text, fields, 0),
        other => {
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
    text
}

fn list(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        text.push_str(&"  ".repeat(depth));
        text.push('-');
        match item {
            // The first field stands beside the dash.
            Value::Object(fields) if !fields.is_empty() => {
                let mut inner = String::new();
                map(&mut inner, fields, depth + 1);
                text.push(' ');
                text.push_str(inner.trim_start_matches(' '));
            }
            item => below(text, item, depth),
        }
    }
}

fn map(text: &mut String, fields: &serde_json::Map<String, Value>, depth: usize) {
    for (key, value) in fields {
        text.push_str(&"  ".repeat(depth));
        text.push_str(&word(key));
        text.push(':');
        below(text, value, depth);
    }
}

/// What follows a key or a dash.
fn below(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            list(text, items, depth + 1);
        }
        Value::Object(fields) if !fields.is_empty() => {
            text.push('\n');
            map(text, fields, depth + 1);
        }
        other => {
            text.push(' ');
            text.push_str(&scalar(other));
            text.push('\n');
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => word(string),
        // Numbers, `null`, `true`, `[]` and `{}` are the same in both.
        other => other.to_string(),
    }
}

/// A text as it is where it can be nothing else, else in JSON's quotes, which are YAML's as well.
fn word(string: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let reserved = RESERVED.contains(&string.to_ascii_lowercase().as_str());
    let begins = string.starts_with(|c: char| c.is_ascii_alphabetic());
    match begins && !reserved && string.chars().all(plain) {
        true => string.to_owned(),
        false => Value::from(string).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_are_in_block_style_and_doubtful_texts_in_quotes() {
        // Fields in the order of their names, which is the order that they get.
        let services = json!([
            {
                "endpoints": [],
                "metadata": null,
                "name": "orders",
                "nodes": [
                    {"address": "10.0.0.1:80", "id": "orders-1", "metadata": {"a: b": "#", "zone": "no"}},
                    {"address": "h:1", "id": "-", "metadata": {}},
                ],
                "version": "1.0",
            },
            {"name": "carts", "nodes": [["a"], 7]},
        ]);
        let expected = r##"- endpoints: []
  metadata: null
  name: orders
  nodes:
    - address: "10.0.0.1:80"
      id: orders-1
      metadata:
        "a: b": "#"
        zone: "no"
    - address: "h:1"
      id: "-"
      metadata: {}
  version: "1.0"
- name: carts
  nodes:
    -
      - a
    - 7
"##;
        assert_eq!(render(&services), expected);
        assert_eq!(render(&json!([])), "[]\n");
        assert_eq!(render(&json!("a\n\"b")), "\"a\\n\\\"b\"\n");
        for doubtful in [
            "", "null", "~", "Yes", "1e3", "0x1", "a b", "!x", "&x", "*x", "é", "a:",
        ] {
            let text = word(doubtful);
            assert_eq!(text, Value::from(doubtful).to_string());
        }
        for plain in ["orders", "go.micro.srv.greeter", "a/b", "v1"] {
            assert_eq!(word(plain), plain);
        }
    }
}
