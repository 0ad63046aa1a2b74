//! Lines of a file that may be anything: numbered, bounded in length, and text.
//!
//! A file without line ends must not fill the memory, and one that is not text is refused before
//! anybody looks for a meaning in it.

use std::io::{BufRead, Read as _};

use super::{Fault, Trouble};

/// No line of k6's comes near: the longest hold an error's text and a URL or two.
const LONGEST_LINE_BYTES: usize = 1 << 20;
/// No summary comes near.
const LONGEST_DOCUMENT_BYTES: usize = 64 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const UTF16: [[u8; 2]; 2] = [[0xff, 0xfe], [0xfe, 0xff]];
const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// A line without its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) text: &'a str,
    /// From 1.
    pub(super) number: u64,
    /// Whether a line end follows; only the last line may lack it.
    pub(super) is_ended: bool,
}

/// Reads one line after the other.
pub(super) struct Lines<R> {
    input: R,
    bytes: Vec<u8>,
    number: u64,
    is_ended: bool,
}

impl<R: BufRead> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            bytes: Vec::new(),
            number: 0,
            is_ended: true,
        }
    }

    /// Number of the line read last.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The next line; none at the end of the file.
    pub(super) fn advance(&mut self) -> Result<Option<Line<'_>>, Trouble> {
        self.bytes.clear();
        self.number += 1;
        let limit = LONGEST_LINE_BYTES as u64 + 1;
        let mut bounded = self.input.by_ref().take(limit);
        let length = bounded
            .read_until(b'\n', &mut self.bytes)
            .map_err(Trouble::Io)?;
        if length == 0 {
            self.number -= 1;
            return Ok(None);
        }
        if self.number == 1 {
            self.check_beginning().map_err(Trouble::File)?;
        }
        self.is_ended = self.bytes.last() == Some(&b'\n');
        if self.bytes.contains(&0) {
            return Err(Trouble::Line(Fault::Binary));
        }
        if length > LONGEST_LINE_BYTES {
            return Err(Trouble::Line(Fault::LongLine {
                limit_bytes: LONGEST_LINE_BYTES,
            }));
        }
        self.trim().map_err(Trouble::Line)?;
        Ok(self.current())
    }

    /// The line read last once more.
    pub(super) fn current(&self) -> Option<Line<'_>> {
        let text = std::str::from_utf8(&self.bytes).ok()?;
        Some(Line {
            text,
            number: self.number,
            is_ended: self.is_ended,
        })
    }

    /// Adds what is left of the file to the text of its first lines.
    pub(super) fn rest(&mut self, text: &mut String) -> Result<(), Trouble> {
        let mut rest = Vec::new();
        let mut bounded = self.input.by_ref().take(LONGEST_DOCUMENT_BYTES as u64 + 1);
        let length = bounded.read_to_end(&mut rest).map_err(Trouble::Io)?;
        if length > LONGEST_DOCUMENT_BYTES {
            return Err(Trouble::Line(Fault::LongLine {
                limit_bytes: LONGEST_DOCUMENT_BYTES,
            }));
        }
        let rest = String::from_utf8(rest).map_err(|_| Trouble::File(Fault::Binary))?;
        if self.is_ended {
            text.push('\n');
        }
        text.push_str(&rest);
        Ok(())
    }

    fn check_beginning(&mut self) -> Result<(), Fault> {
        if self.bytes.starts_with(&GZIP) {
            return Err(Fault::Gzip);
        }
        if UTF16.iter().any(|mark| self.bytes.starts_with(mark)) {
            return Err(Fault::Utf16);
        }
        if self.bytes.starts_with(&BYTE_ORDER_MARK) {
            self.bytes.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(())
    }

    /// Takes off the line's end, and the first bytes of a character that was cut with the file.
    fn trim(&mut self) -> Result<(), Fault> {
        if self.is_ended {
            self.bytes.pop();
            if self.bytes.last() == Some(&b'\r') {
                self.bytes.pop();
            }
        }
        match std::str::from_utf8(&self.bytes) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_none() && !self.is_ended => {
                self.bytes.truncate(error.valid_up_to());
                Ok(())
            }
            Err(_) => Err(Fault::Binary),
        }
    }
}
