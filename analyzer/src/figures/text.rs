//! How wide a text may come out, and how it is broken into lines.
//!
//! The reader's font is not known. Widths are those of DejaVu Sans, among the widest of the fonts
//! that a browser takes for sans serif, so that what fits here fits there.

/// Upper bound of the width of a text at a font size.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let thousandths: u32 = text.chars().map(advance).sum();
    f64::from(thousandths) / 1000.0 * size
}

/// A text in lines that are at most so wide; breaks stand at spaces and after `-`, `/`, `,`, `+`
/// and `_`, and within a word only where it fits no line by itself. What does not fit the last
/// line ends in an ellipsis.
pub(super) fn wrapped(text: &str, size: f64, widest: f64, most_lines: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for piece in pieces(text) {
        let line = lines.last_mut().expect("there is a first line");
        let longer = format!("{line}{piece}");
        if width(longer.trim_end(), size) <= widest {
            *line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(String::new());
        }
        for character in piece.chars() {
            let line = lines.last_mut().expect("there is a first line");
            if !line.is_empty() && width(line, size) + width_of(character, size) > widest {
                lines.push(String::new());
            }
            lines
                .last_mut()
                .expect("there is a first line")
                .push(character);
        }
    }
    let too_many = lines.len() > most_lines;
    lines.truncate(most_lines.max(1));
    if too_many && let Some(last) = lines.last_mut() {
        while !last.is_empty() && width(&format!("{last}…"), size) > widest {
            last.pop();
        }
        last.push('…');
    }
    lines.iter().map(|line| line.trim().to_owned()).collect()
}

fn width_of(character: char, size: f64) -> f64 {
    f64::from(advance(character)) / 1000.0 * size
}

fn pieces(text: &str) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for character in text.chars() {
        let piece = pieces.last_mut().expect("there is a first piece");
        piece.push(character);
        if matches!(character, ' ' | '-' | '/' | ',' | '+' | '_') {
            pieces.push(String::new());
        }
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Advance in thousandths of the font size.
fn advance(character: char) -> u32 {
    match character {
        'i' | 'j' | 'l' | '\'' => 280,
        'I' | ' ' | '.' | ',' | ':' | ';' | '/' | '\\' | '|' | '·' => 340,
        'f' | 't' | '-' | '(' | ')' | '[' | ']' | '!' => 405,
        'r' | '"' => 465,
        's' | 'c' | 'z' | '*' | '_' | 'J' => 560,
        'm' | 'W' | '@' | '—' | '…' | '→' | '%' => 1_000,
        'w' | 'M' | '+' | '=' | '−' | '<' | '>' | '±' | '×' | '÷' | '≥' | '≤' | '~' => 860,
        'G' | 'O' | 'Q' | 'D' | 'N' | 'H' | '&' => 790,
        'a'..='z' | '0'..='9' | 'µ' | '–' => 640,
        'A'..='Z' => 700,
        _ if (character as u32) < 0x250 => 720,
        _ if (character as u32) < 0x1100 => 860,
        _ => 1_100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_breaks_where_a_reader_would_break_it() {
        let lines = wrapped("netfilter-gateway-udp-99-pairs", 12.0, 100.0, 3);
        assert_eq!(lines, ["netfilter-", "gateway-udp-", "99-pairs"]);
        for line in &lines {
            assert!(width(line, 12.0) <= 100.0, "{line}");
        }
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        let lines = wrapped(&"x".repeat(200), 12.0, 100.0, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].ends_with('…'));
        assert!(lines.iter().all(|line| width(line, 12.0) <= 100.0));
        assert_eq!(wrapped("", 12.0, 100.0, 2), [""]);
    }
}
