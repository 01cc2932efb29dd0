//! What a record says of itself, in Consul's tags.
//!
//! go-micro's layout: `t-` a pair of node metadata as JSON, `e-` an endpoint as JSON, `v-` the bare
//! version, each zlib-compressed and then in lower-case hexadecimal; its first releases wrote `t=`,
//! `e=` and `v=` in the clear. Ours is `m-`: the service's own metadata, for which go-micro has no
//! place; its readers pass over kinds that they do not know.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use waypost_core::{Endpoint, Instance, Metadata};
use waypost_plugin_kit::codec;

/// Most bytes that the tags of one record may inflate to, all together.
pub(crate) const MAX_INFLATED: usize = codec::MAX_RECORD;

/// What the tags of a record hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) version: Option<String>,
    pub(crate) node: Option<Metadata>,
    pub(crate) service: Metadata,
    pub(crate) endpoints: Vec<Endpoint>,
    /// Tags that were passed over, each with the rule that it breaks.
    pub(crate) broken: Vec<(String, String)>,
}

/// The tags of `instance`, in go-micro's order.
///
/// # Errors
/// The size that they would unpack to, when it is more than a reader takes.
pub(crate) fn encode(instance: &Instance) -> Result<Vec<String>, usize> {
    let mut writer = Writer::new();
    for (key, value) in &instance.node.metadata {
        let pair = Metadata::from([(key.clone(), value.clone())]);
        writer.tag("t-", &json(&pair));
    }
    for endpoint in &instance.endpoints {
        writer.tag("e-", &json(endpoint));
    }
    writer.tag("v-", instance.version.as_bytes());
    if !instance.metadata.is_empty() {
        writer.tag("m-", &json(&instance.metadata));
    }
    match writer.size {
        size if size > MAX_INFLATED => Err(size),
        _ => Ok(writer.tags),
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    // Writing to a vector cannot fail, and all keys of the model's maps are texts.
    serde_json::to_vec(value).unwrap_or_default()
}

/// One compressor for all tags: making one costs more than a tag.
struct Writer {
    tags: Vec<String>,
    size: usize,
    compress: Compress,
}

impl Writer {
    fn new() -> Self {
        Self {
            tags: Vec::new(),
            size: 0,
            compress: Compress::new(Compression::default(), true),
        }
    }

    fn tag(&mut self, kind: &str, content: &[u8]) {
        self.size += content.len();
        self.compress.reset();
        // What cannot be compressed grows, by five bytes a block of 16 KiB at least.
        let mut packed = Vec::with_capacity(content.len() + content.len() / 1024 + 64);
        // There is room for all of it, so that one step is enough.
        let _ = self
            .compress
            .compress_vec(content, &mut packed, FlushCompress::Finish);
        let mut tag = String::with_capacity(kind.len() + 2 * packed.len());
        tag.push_str(kind);
        for byte in packed {
            tag.push(digit(byte >> 4));
            tag.push(digit(byte & 15));
        }
        self.tags.push(tag);
    }
}

fn digit(value: u8) -> char {
    char::from_digit(value.into(), 16).unwrap_or('0')
}

/// Reads tags. What is broken is passed over and named, and hides nothing else.
pub(crate) fn decode<'a>(tags: impl IntoIterator<Item = &'a str>) -> Said {
    let mut reader = Reader::default();
    for tag in tags {
        if let Err(rule) = reader.read(tag) {
            let shown = tag.chars().take(40).collect();
            reader.said.broken.push((shown, rule));
        }
    }
    reader.said
}

#[derive(Default)]
struct Reader {
    said: Said,
    inflater: Inflater,
    /// The encoding of the first tag of each kind, which holds for the kind: a writer that was
    /// updated may have left tags of both.
    encodings: [Option<u8>; 4],
}

impl Reader {
    fn read(&mut self, tag: &str) -> Result<(), String> {
        let Some(kind) = tag.bytes().next().and_then(position) else {
            return Ok(());
        };
        let encoding = match tag.as_bytes() {
            [_] => return Err("has no content".to_owned()),
            [_, encoding @ (b'-' | b'='), ..] => *encoding,
            _ => return Ok(()),
        };
        if self.encodings[kind].is_some_and(|first| first != encoding) {
            return Ok(());
        }
        // The two bytes before are ASCII.
        let content = tag.get(2..).unwrap_or_default();
        let content = match encoding {
            b'=' => self.inflater.charge(content.as_bytes())?.to_vec(),
            _ => self.inflater.inflate(content)?,
        };
        self.take(kind, &content)?;
        self.encodings[kind] = Some(encoding);
        Ok(())
    }

    fn take(&mut self, kind: usize, content: &[u8]) -> Result<(), String> {
        match KINDS[kind] {
            b't' => self
                .said
                .node
                .get_or_insert_default()
                .extend(pairs(content)?),
            b'e' => self.said.endpoints.push(codec::decode_endpoint(content)?),
            b'm' => self.said.service.extend(pairs(content)?),
            _ => {
                let version = std::str::from_utf8(content).map_err(|_| "is no text".to_owned())?;
                self.said.version = Some(version.to_owned());
            }
        }
        Ok(())
    }
}

const KINDS: [u8; 4] = *b"tevm";

fn position(kind: u8) -> Option<usize> {
    KINDS.iter().position(|known| *known == kind)
}

fn pairs(content: &[u8]) -> Result<Metadata, String> {
    let pairs: std::collections::BTreeMap<String, Option<String>> =
        serde_json::from_slice(content).map_err(|error| format!("is no map of texts: {error}"))?;
    Ok(pairs
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect())
}

/// Inflates the tags of one record, up to a limit for all of them. Works in small steps: what is
/// beyond the limit is never made, nor are the bytes behind the hexadecimal digits kept.
struct Inflater {
    state: Option<Box<Decompress>>,
    /// How much more may be kept, …
    left: usize,
    /// … and how much more may be inflated, to be kept or not: a hundred broken tags cost as much
    /// as one, and hide no plain one.
    work: usize,
}

impl Default for Inflater {
    fn default() -> Self {
        Self {
            state: None,
            left: MAX_INFLATED,
            work: MAX_INFLATED,
        }
    }
}

impl Inflater {
    /// What was never packed counts as well.
    fn charge<'a>(&mut self, content: &'a [u8]) -> Result<&'a [u8], String> {
        self.left = self.left.checked_sub(content.len()).ok_or_else(beyond)?;
        Ok(content)
    }

    fn inflate(&mut self, digits: &str) -> Result<Vec<u8>, String> {
        if !digits.len().is_multiple_of(2) {
            return Err("has an odd number of hexadecimal digits".to_owned());
        }
        let limit = self.left.min(self.work);
        if limit == 0 {
            return Err(beyond());
        }
        let state = self
            .state
            .get_or_insert_with(|| Box::new(Decompress::new(true)));
        state.reset(true);
        let mut content = Vec::new();
        let result = inflate(state, digits.as_bytes(), &mut content, limit);
        self.work -= content.len().min(self.work);
        result?;
        self.left -= content.len().min(self.left);
        Ok(content)
    }
}

fn inflate(
    state: &mut Decompress,
    digits: &[u8],
    content: &mut Vec<u8>,
    limit: usize,
) -> Result<(), String> {
    let mut bytes = [0; 512];
    let mut piece = [0; 4096];
    for digits in digits.chunks(2 * bytes.len()) {
        let count = unhex(digits, &mut bytes)?;
        let mut input = &bytes[..count];
        loop {
            let (taken, made) = (state.total_in(), state.total_out());
            let status = state
                .decompress(input, &mut piece, FlushDecompress::None)
                .map_err(|_| "is not compressed by zlib".to_owned())?;
            // Both are bounded by the buffers.
            let taken = usize::try_from(state.total_in() - taken).unwrap_or(0);
            let made = usize::try_from(state.total_out() - made).unwrap_or(0);
            input = &input[taken..];
            let room = limit - content.len();
            content.extend_from_slice(&piece[..made.min(room)]);
            if made > room {
                return Err(beyond());
            }
            if status == Status::StreamEnd {
                return Ok(());
            }
            if taken == 0 && made == 0 || input.is_empty() && made < piece.len() {
                break;
            }
        }
    }
    Err("ends too early".to_owned())
}

fn unhex(digits: &[u8], bytes: &mut [u8]) -> Result<usize, String> {
    let value = |digit: u8| char::from(digit).to_digit(16);
    let mut count = 0;
    for (pair, byte) in digits.chunks(2).zip(bytes) {
        let value = match pair {
            [high, low] => value(*high).zip(value(*low)),
            _ => None,
        };
        let Some((high, low)) = value else {
            return Err("is not hexadecimal".to_owned());
        };
        *byte = u8::try_from(high * 16 + low).unwrap_or(0);
        count += 1;
    }
    Ok(count)
}

fn beyond() -> String {
    format!("inflates beyond the {MAX_INFLATED} bytes of a record")
}

#[cfg(test)]
mod tests;
