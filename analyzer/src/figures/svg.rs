//! Writes SVG: elements, attributes and text, escaped, with coordinates to a hundredth.

use std::fmt::Write as _;

/// An `svg` element in the making.
#[derive(Debug)]
pub(super) struct Svg {
    id: String,
    text: String,
}

/// An element whose attributes are being written; it is closed when it is dropped or filled.
#[must_use]
pub(super) struct Element<'a> {
    svg: &'a mut Svg,
    name: &'static str,
}

impl Svg {
    /// Opens the drawing. `title` and `description` are what a screen reader says.
    pub fn new(id: &str, (width, height): (f64, f64), title: &str, description: &str) -> Self {
        let mut svg = Self {
            id: id.to_owned(),
            text: String::new(),
        };
        let size = format!("0 0 {} {}", place(width), place(height));
        let labels = format!("{id}-title {id}-desc");
        svg.open("svg")
            .text("viewBox", &size)
            .text("role", "img")
            .text("aria-labelledby", &labels)
            .text("class", "plot")
            .begin();
        let titles = [("title", title), ("desc", description)];
        for (name, words) in titles {
            svg.open(name)
                .text("id", &format!("{id}-{name}"))
                .fill(words);
        }
        svg
    }

    /// The id of a part of the drawing.
    pub fn id_of(&self, part: &str) -> String {
        format!("{}-{part}", self.id)
    }

    /// Begins an element.
    pub fn open(&mut self, name: &'static str) -> Element<'_> {
        let _ = write!(self.text, "<{name}");
        Element { svg: self, name }
    }

    /// Ends a group.
    pub fn close(&mut self, name: &'static str) {
        let _ = write!(self.text, "</{name}>");
    }

    /// A line.
    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        self.open("line")
            .text("class", class)
            .number("x1", from.0)
            .number("y1", from.1)
            .number("x2", to.0)
            .number("y2", to.1)
            .end();
    }

    /// A line of text; `class` says how it is aligned.
    pub fn words(&mut self, class: &str, at: (f64, f64), words: &str) {
        self.open("text")
            .text("class", class)
            .number("x", at.0)
            .number("y", at.1)
            .fill(words);
    }

    /// The finished drawing.
    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

impl Element<'_> {
    /// An attribute of text.
    pub fn text(self, name: &str, value: &str) -> Self {
        let _ = write!(self.svg.text, " {name}=\"");
        escape(value, &mut self.svg.text);
        self.svg.text.push('"');
        self
    }

    /// An attribute of a coordinate.
    pub fn number(self, name: &str, value: f64) -> Self {
        let _ = write!(self.svg.text, " {name}=\"{}\"", place(value));
        self
    }

    /// Ends an element that holds nothing.
    pub fn end(self) {
        self.svg.text.push_str("/>");
    }

    /// Ends it with a text in it.
    pub fn fill(self, words: &str) {
        self.svg.text.push('>');
        escape(words, &mut self.svg.text);
        let _ = write!(self.svg.text, "</{}>", self.name);
    }

    /// Ends it with a title in it, which a pointer shows.
    pub fn titled(self, words: &str) {
        if words.is_empty() {
            return self.end();
        }
        self.svg.text.push_str("><title>");
        escape(words, &mut self.svg.text);
        let _ = write!(self.svg.text, "</title></{}>", self.name);
    }

    /// Leaves it open: what follows is in it, until [`Svg::close`].
    pub fn begin(self) {
        self.svg.text.push('>');
    }
}

/// A coordinate, to a hundredth, without zeros that say nothing.
pub(super) fn place(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
}

/// Text as XML takes it; characters that no document may hold become spaces.
fn escape(text: &str, into: &mut String) {
    for character in text.chars() {
        match character {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '"' => into.push_str("&quot;"),
            _ if character.is_control() => into.push(' '),
            _ => into.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_coordinates_are_short() {
        let mut svg = Svg::new("a", (10.0, 5.5), "1 < 2", "a \"b\"\u{0}");
        svg.words("left", (1.0 / 3.0, -0.001), "x & y");
        assert_eq!(
            svg.finish(),
            "<svg viewBox=\"0 0 10 5.5\" role=\"img\" aria-labelledby=\"a-title a-desc\" class=\"plot\">\
             <title id=\"a-title\">1 &lt; 2</title><desc id=\"a-desc\">a &quot;b&quot; </desc>\
             <text class=\"left\" x=\"0.33\" y=\"0\">x &amp; y</text></svg>"
        );
        assert_eq!(place(f64::NAN), "0");
        assert_eq!(place(100.0), "100");
    }
}
