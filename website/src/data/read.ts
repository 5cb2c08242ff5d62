// Reads untyped JSON with a clear word about what is wrong and where.

export class Malformed extends Error {
  constructor(where: string, expected: string, found: unknown) {
    super(`${where === '' ? 'the file' : where}: expected ${expected}, found ${describe(found)}`);
  }
}

function describe(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'string') return `the text “${value.length > 40 ? `${value.slice(0, 40)}…` : value}”`;
  if (typeof value === 'object') return 'an object';
  return String(value);
}

/** A JSON value and where it stands, so that an error can name the place. */
export class Node {
  readonly value: unknown;
  readonly where: string;
  constructor(value: unknown, where = '') {
    this.value = value;
    this.where = where;
  }

  get missing(): boolean {
    return this.value === undefined || this.value === null;
  }

  /** A field of an object; of nothing, nothing. */
  at(key: string): Node {
    const where = this.where === '' ? key : `${this.where}.${key}`;
    if (this.missing) return new Node(undefined, where);
    if (typeof this.value !== 'object' || Array.isArray(this.value)) throw new Malformed(this.where, 'an object', this.value);
    return new Node(Object.hasOwn(this.value as object, key) ? (this.value as Record<string, unknown>)[key] : undefined, where);
  }

  /** The first of several spellings that is there. */
  first(...keys: string[]): Node {
    const found = keys.map((key) => this.at(key)).find((node) => !node.missing);
    return found ?? this.at(keys[0] ?? '');
  }

  object(): Node {
    if (typeof this.value !== 'object' || this.value === null || Array.isArray(this.value)) throw new Malformed(this.where, 'an object', this.value);
    return this;
  }

  entries(): [string, Node][] {
    if (this.missing) return [];
    this.object();
    return Object.entries(this.value as object).map(([key, value]) => [key, new Node(value, `${this.where}.${key}`)]);
  }

  items(): Node[] {
    if (!Array.isArray(this.value)) throw new Malformed(this.where, 'a list', this.value);
    return this.value.map((value, i) => new Node(value, `${this.where}[${i}]`));
  }

  itemsOrNone(): Node[] {
    return this.missing ? [] : this.items();
  }

  text(): string {
    if (typeof this.value !== 'string') throw new Malformed(this.where, 'a text', this.value);
    return this.value;
  }

  textOrNull(): string | null {
    return this.missing ? null : this.text();
  }

  number(): number {
    if (typeof this.value !== 'number' || !Number.isFinite(this.value)) throw new Malformed(this.where, 'a number', this.value);
    return this.value;
  }

  numberOrNull(): number | null {
    return this.missing ? null : this.number();
  }

  bool(): boolean {
    if (typeof this.value !== 'boolean') throw new Malformed(this.where, 'true or false', this.value);
    return this.value;
  }

  pairOrNull(): [number, number] | null {
    if (this.missing) return null;
    const [low, high, rest] = this.items();
    if (low === undefined || high === undefined || rest !== undefined) throw new Malformed(this.where, 'a list of two numbers', this.value);
    return [low.number(), high.number()];
  }
}
