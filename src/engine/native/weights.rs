//! The tensors of a model's safetensors files, mapped into memory.
//!
//! Numbers in `f32` are used where they lie; `bf16` and `f16`, whose numbers all are numbers of `f32`, are widened once. Each tensor must be
//! asked for by its name and shape, hold finite numbers only, and none may be left over.

use crate::engine::EngineError;
use crate::engine::files::{at, read_object, weight_files};
use half::{bf16, f16};
use memmap2::{Mmap, MmapOptions};
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Elements that one thread widens or checks at a time.
const CHUNK: usize = 1 << 16;

/// Numbers of a matrix or of several that lie in one tensor.
#[derive(Clone)]
enum Storage {
    /// In the file.
    Mapped(Arc<Mmap>),
    /// In memory of our own.
    Owned(Arc<Vec<f32>>),
}

/// A matrix of weights, or a part of one.
#[derive(Clone)]
pub(super) struct Matrix {
    storage: Storage,
    /// First element.
    offset: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// Elements from row to row.
    pub(super) stride: usize,
}

impl Matrix {
    /// A matrix of our own, row after row.
    pub(super) fn owned(values: Vec<f32>, rows: usize, columns: usize) -> Self {
        debug_assert_eq!(values.len(), rows * columns);
        Self { storage: Storage::Owned(Arc::new(values)), offset: 0, rows, columns, stride: columns }
    }

    /// The elements from the first one on.
    pub(super) fn values(&self) -> &[f32] {
        let all = match &self.storage {
            // Whether the bytes are aligned was checked when they were mapped.
            Storage::Mapped(map) => bytemuck::try_cast_slice(map).unwrap_or_default(),
            Storage::Owned(values) => values,
        };
        &all[self.offset..]
    }

    /// One row.
    pub(super) fn row(&self, index: usize) -> &[f32] {
        &self.values()[index * self.stride..][..self.columns]
    }

    /// Some of the rows.
    pub(super) fn rows(&self, range: Range<usize>) -> Self {
        Self { offset: self.offset + range.start * self.stride, rows: range.len(), ..self.clone() }
    }

    /// Some of the columns.
    pub(super) fn columns(&self, range: Range<usize>) -> Self {
        Self { offset: self.offset + range.start, columns: range.len(), ..self.clone() }
    }

    /// The rows of the given numbers, copied.
    pub(super) fn gathered(&self, rows: impl Iterator<Item = usize>) -> Self {
        let mut values = Vec::new();
        let mut count = 0;
        for row in rows {
            values.extend_from_slice(self.row(row));
            count += 1;
        }
        Self::owned(values, count, self.columns)
    }

    /// Whether both have the same shape and bits.
    pub(super) fn equals(&self, other: &Self) -> bool {
        let same = |row: usize| self.row(row).iter().zip(other.row(row)).all(|(left, right)| left.to_bits() == right.to_bits());
        self.rows == other.rows && self.columns == other.columns && (0..self.rows).into_par_iter().all(same)
    }
}

struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Place in the file.
    bytes: Range<usize>,
}

struct File {
    path: PathBuf,
    handle: std::fs::File,
}

impl File {
    fn map(&self, bytes: &Range<usize>) -> Result<Mmap, EngineError> {
        let mut options = MmapOptions::new();
        options.offset(bytes.start as u64).len(bytes.len());
        #[expect(unsafe_code, reason = "the system maps the file; nothing else can")]
        // SAFETY: the map is only read. Files of the hub's cache are written once under another name and never changed in place; should
        // somebody cut a file short under a running evaluation, the system ends the program, and no number is made up.
        unsafe { options.map(&self.handle) }.map_err(|error| at(&self.path, &error))
    }
}

/// A matrix whose rows are looked up one by one: it stays in the file.
pub(super) struct Table {
    map: Mmap,
    dtype: Dtype,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Table {
    /// Reads one row.
    pub(super) fn look_up(&self, index: usize, row: &mut [f32]) {
        match self.dtype {
            Dtype::F32 => read_row(&self.map, index, row, f32::from_le_bytes),
            Dtype::BF16 => read_row(&self.map, index, row, |two| bf16::from_le_bytes(two).to_f32()),
            // Other formats were refused when the matrix was checked.
            _ => read_row(&self.map, index, row, |two| f16::from_le_bytes(two).to_f32()),
        }
    }
}

fn read_row<const WIDTH: usize>(bytes: &[u8], index: usize, row: &mut [f32], widen: impl Fn([u8; WIDTH]) -> f32) {
    let bytes = &bytes[index * row.len() * WIDTH..][..row.len() * WIDTH];
    for (value, bytes) in row.iter_mut().zip(bytes.as_chunks::<WIDTH>().0) {
        *value = widen(*bytes);
    }
}

/// All tensors of a model.
pub(super) struct Tensors {
    dir: PathBuf,
    files: Vec<File>,
    entries: BTreeMap<String, Entry>,
    used: BTreeSet<String>,
}

impl Tensors {
    /// Maps the weight files of a folder.
    ///
    /// # Errors
    /// A file that is missing or no safetensors, a tensor that stands in two files, or one that the index promises and no file has.
    pub(super) fn open(dir: &Path) -> Result<Self, EngineError> {
        let mut tensors = Self { dir: dir.to_owned(), files: Vec::new(), entries: BTreeMap::new(), used: BTreeSet::new() };
        for name in weight_files(dir)? {
            tensors.add(&dir.join(name))?;
        }
        let index_path = dir.join("model.safetensors.index.json");
        if index_path.is_file() {
            let index = read_object(&index_path)?;
            for name in index.get("weight_map").and_then(serde_json::Value::as_object).into_iter().flat_map(serde_json::Map::keys) {
                if !tensors.entries.contains_key(name) {
                    return Err(at(&index_path, &format!("the tensor `{name}` is in none of the weight files")));
                }
            }
        }
        Ok(tensors)
    }

    fn add(&mut self, path: &Path) -> Result<(), EngineError> {
        let handle = std::fs::File::open(path).map_err(|error| at(path, &error))?;
        let length = handle.metadata().map_err(|error| at(path, &error))?.len();
        let file = File { path: path.to_owned(), handle };
        let map = file.map(&(0..usize::try_from(length).unwrap_or(usize::MAX)))?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|error| at(path, &format!("no safetensors file, or a part of one: {error}")))?;
        let begin = 8 + header;
        let number = self.files.len();
        for (name, info) in metadata.tensors() {
            let bytes = begin + info.data_offsets.0..begin + info.data_offsets.1;
            if bytes.end > map.len() {
                return Err(at(path, &format!("the tensor `{name}` ends beyond the file: its download is not complete")));
            }
            let entry = Entry { file: number, dtype: info.dtype, shape: info.shape.clone(), bytes };
            if self.entries.insert(name.clone(), entry).is_some() {
                return Err(at(path, &format!("the tensor `{name}` is in another weight file, too")));
            }
        }
        self.files.push(file);
        Ok(())
    }

    /// Whether there is a tensor of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Whether any tensor's name begins so.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.entries.range(prefix.to_owned()..).next().is_some_and(|(name, _)| name.starts_with(prefix))
    }

    /// A matrix by name.
    ///
    /// # Errors
    /// See the module's documentation.
    pub(super) fn matrix(&mut self, name: &str, rows: usize, columns: usize) -> Result<Matrix, EngineError> {
        let storage = self.storage(name, &[rows, columns])?;
        let matrix = Matrix { storage, offset: 0, rows, columns, stride: columns };
        self.check_finite(name, matrix.values())?;
        Ok(matrix)
    }

    /// A vector by name.
    ///
    /// # Errors
    /// See the module's documentation.
    pub(super) fn vector(&mut self, name: &str, length: usize) -> Result<Vec<f32>, EngineError> {
        let storage = self.storage(name, &[length])?;
        let values = Matrix { storage, offset: 0, rows: 1, columns: length, stride: length }.values().to_vec();
        self.check_finite(name, &values)?;
        Ok(values)
    }

    /// The rows of a matrix that was checked before.
    ///
    /// # Errors
    /// A tensor that is missing, or a file that cannot be mapped.
    pub(super) fn table(&self, name: &str) -> Result<Table, EngineError> {
        let entry = self.entries.get(name).ok_or_else(|| at(&self.dir, &format!("the tensor `{name}` is missing from the weights")))?;
        let map = self.files[entry.file].map(&entry.bytes)?;
        Ok(Table { map, dtype: entry.dtype, rows: entry.shape[0], columns: entry.shape[1] })
    }

    fn storage(&mut self, name: &str, shape: &[usize]) -> Result<Storage, EngineError> {
        let entry = self.entries.get(name).ok_or_else(|| at(&self.dir, &format!("the tensor `{name}` is missing from the weights")))?;
        let file = &self.files[entry.file];
        if entry.shape != shape {
            return Err(at(
                &file.path,
                &format!("the tensor `{name}` has the shape {:?}; by config.json it must have {shape:?}", entry.shape),
            ));
        }
        self.used.insert(name.to_owned());
        let map = file.map(&entry.bytes)?;
        let bytes: &[u8] = &map;
        let elements: usize = shape.iter().product();
        let width = if entry.dtype == Dtype::F32 { 4 } else { 2 };
        if bytes.len() != elements * width && matches!(entry.dtype, Dtype::F32 | Dtype::BF16 | Dtype::F16) {
            return Err(at(&file.path, &format!("the tensor `{name}` has {} bytes for {elements} numbers", bytes.len())));
        }
        match entry.dtype {
            Dtype::F32 if bytemuck::try_cast_slice::<u8, f32>(bytes).is_ok() => Ok(Storage::Mapped(Arc::new(map))),
            Dtype::F32 => Ok(widened(bytes, |four: [u8; 4]| f32::from_le_bytes(four))),
            Dtype::BF16 => Ok(widened(bytes, |two: [u8; 2]| bf16::from_le_bytes(two).to_f32())),
            Dtype::F16 => Ok(widened(bytes, |two: [u8; 2]| f16::from_le_bytes(two).to_f32())),
            other => Err(at(&file.path, &format!("the tensor `{name}` is stored as {other:?}; F32, BF16 and F16 can be read"))),
        }
    }

    fn check_finite(&self, name: &str, values: &[f32]) -> Result<(), EngineError> {
        let broken = values.par_chunks(CHUNK).enumerate().find_map_first(|(chunk, values)| {
            let index = values.iter().position(|value| !value.is_finite())?;
            Some((chunk * CHUNK + index, values[index]))
        });
        match broken {
            None => Ok(()),
            Some((index, value)) => Err(at(
                &self.files[self.entries[name].file].path,
                &format!("the tensor `{name}` holds {value} at place {index}: the weights are broken"),
            )),
        }
    }

    /// Checks that every tensor was asked for, except those whose name ends as one of `harmless` (buffers that follow from the configuration).
    ///
    /// # Errors
    /// The names that are left over.
    pub(super) fn finish(self, harmless: &[&str]) -> Result<(), EngineError> {
        let left: Vec<&String> = self
            .entries
            .keys()
            .filter(|name| !self.used.contains(*name) && !harmless.iter().any(|ending| name.ends_with(ending)))
            .collect();
        if left.is_empty() {
            return Ok(());
        }
        let shown: Vec<String> = left.iter().take(5).map(|name| format!("`{name}`")).collect();
        let more = if left.len() > shown.len() { format!(" and {} more", left.len() - shown.len()) } else { String::new() };
        Err(at(
            &self.dir,
            &format!("the weights hold tensors that the architecture of config.json has no place for: {}{more}", shown.join(", ")),
        ))
    }
}

fn widened<const WIDTH: usize>(bytes: &[u8], widen: impl Fn([u8; WIDTH]) -> f32 + Sync) -> Storage {
    let mut values = vec![0f32; bytes.len() / WIDTH];
    values.par_chunks_mut(CHUNK).zip(bytes.par_chunks(CHUNK * WIDTH)).for_each(|(values, bytes)| {
        for (value, bytes) in values.iter_mut().zip(bytes.as_chunks::<WIDTH>().0) {
            *value = widen(*bytes);
        }
    });
    Storage::Owned(Arc::new(values))
}
