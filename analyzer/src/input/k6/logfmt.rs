//! `key=value key="quoted value"`, as k6's logger writes it.
//!
//! Quoted values carry Go's escapes. Only the values are needed, so nothing is kept that nobody asks
//! for; a quote that does not close is the mark of a line that was cut.

use std::borrow::Cow;

/// Why a line has no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A quoted value does not end.
    Open,
    /// Something stands where a key should.
    NoKey,
    /// An escape that Go does not write.
    Escape,
}

/// The fields of a line, in order.
pub(super) struct Fields<'a> {
    rest: &'a str,
}

pub(super) fn fields(line: &str) -> Fields<'_> {
    Fields { rest: line }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(&'a str, Cow<'a, str>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rest = self.rest.trim_start_matches(' ');
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = "";
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(&'a str, Cow<'a, str>), Broken> {
        let (key, after) = self.rest.split_once('=').ok_or(Broken::NoKey)?;
        if key.is_empty() || key.contains([' ', '"']) {
            return Err(Broken::NoKey);
        }
        let Some(quoted) = after.strip_prefix('"') else {
            let end = after.find(' ').unwrap_or(after.len());
            let (value, rest) = after.split_at(end);
            self.rest = rest;
            return Ok((key, Cow::Borrowed(value)));
        };
        let end = closing_quote(quoted).ok_or(Broken::Open)?;
        let (value, rest) = quoted.split_at(end);
        self.rest = &rest[1..];
        Ok((key, unescaped(value).ok_or(Broken::Escape)?))
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        closes
    })
}

fn unescaped(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        plain.push(match characters.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'x' => numbered(&mut characters, 2)?,
            'u' => numbered(&mut characters, 4)?,
            'U' => numbered(&mut characters, 8)?,
            itself @ ('"' | '\\' | '\'') => itself,
            _ => return None,
        });
    }
    Some(Cow::Owned(plain))
}

fn numbered(characters: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let text = characters.as_str().get(..digits)?;
    let number = u32::from_str_radix(text, 16).ok()?;
    characters.nth(digits - 1)?;
    char::from_u32(number)
}

#[cfg(test)]
mod tests {
    use super::{Broken, fields};

    fn check(line: &str, expected: Result<&[(&str, &str)], Broken>) {
        let found = fields(line).collect::<Result<Vec<_>, _>>();
        let expected = expected.map(|pairs| {
            let pairs = pairs.iter().map(|&(key, value)| (key, value.into()));
            pairs.collect::<Vec<_>>()
        });
        assert_eq!(found, expected, "{line}");
    }

    #[test]
    fn plain_and_quoted_values() {
        check("", Ok(&[]));
        check(
            "level=info source=",
            Ok(&[("level", "info"), ("source", "")]),
        );
        check(
            r#"error="Get \"x\": no\tanswer \u2013 \\" a=b"#,
            Ok(&[("error", "Get \"x\": no\tanswer \u{2013} \\"), ("a", "b")]),
        );
        check(r#"msg="""#, Ok(&[("msg", "")]));
    }

    #[test]
    fn damaged_lines() {
        check(r#"level=info msg="[2026"#, Err(Broken::Open));
        check(r#"msg="ends in a quote \""#, Err(Broken::Open));
        check("nothing of it", Err(Broken::NoKey));
        check(r#"msg="\q""#, Err(Broken::Escape));
        check(r#"msg="\u12é4""#, Err(Broken::Escape));
    }
}
