// Reads JSON objects that every reader understands alike: no field twice, nor in another spelling.

/** Fields whose meaning a manifest hangs on. Go's decoder takes `Layers` for `layers`. */
const known = new Map(
  [
    'annotations',
    'artifactType',
    'blobs',
    'blobSum',
    'config',
    'data',
    'digest',
    'fsLayers',
    'layers',
    'manifests',
    'mediaType',
    'platform',
    'schemaVersion',
    'signatures',
    'size',
    'subject',
    'urls',
  ].map((name) => [name.toLowerCase(), name]),
)

/** Deeper than any document of a registry. */
const deepest = 64
/** More fields than ten thousand descriptors have. */
const mostFields = 100_000

interface Frame {
  /** Names so far, as a reader that does not mind their case sees them; undefined in a list. */
  names: Set<string> | undefined
  /** Its keys are data, not fields. */
  isMap: boolean
  /** The next text is a key. */
  wantsKey: boolean
  key: string
}

/**
 * The object in `bytes`. Takes time in proportion to their number.
 * @throws SyntaxError for what is no JSON, and Error with what is wrong with it, as in `has a field twice`
 */
export function readStrictObject(bytes: Buffer): Record<string, unknown> {
  const text = bytes.toString('utf8')
  checkKeys(text)
  const value: unknown = JSON.parse(text)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Record<string, unknown>
  }
  throw new Error('is no JSON object')
}

/** Of a text that is no JSON it says nothing: the parser does. */
function checkKeys(text: string): void {
  const frames: Frame[] = []
  let fields = 0
  for (let at = 0; at < text.length; at += 1) {
    const frame = frames.at(-1)
    switch (text.charAt(at)) {
      case '"': {
        const end = endOfText(text, at)
        if (frame?.wantsKey === true) {
          noteKey(frame, text.slice(at, end + 1))
          fields += 1
          if (fields > mostFields) throw new Error('has too many fields')
        }
        at = end
        break
      }
      case '{':
      case '[':
        if (frames.length >= deepest) throw new Error('is nested too deeply')
        frames.push(frameFor(text.charAt(at) === '{', frame))
        break
      case '}':
      case ']':
        frames.pop()
        break
      case ',':
        if (frame?.names !== undefined) frame.wantsKey = true
        break
      default:
    }
  }
}

function frameFor(isObject: boolean, parent: Frame | undefined): Frame {
  const names = isObject ? new Set<string>() : undefined
  return { names, isMap: parent?.key === 'annotations', wantsKey: isObject, key: '' }
}

/** Where the text that begins at `start` has its second quotation mark. */
function endOfText(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1
  return at
}

function noteKey(frame: Frame, quoted: string): void {
  const key = quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1)
  const name = frame.isMap ? key : foldCase(key)
  if (frame.names?.has(name) === true) throw new Error('has a field twice')
  if (!frame.isMap && known.has(name) && known.get(name) !== key) {
    throw new Error('has a field that some readers take for another')
  }
  frame.names?.add(name)
  frame.key = key
  frame.wantsKey = false
}

/** As Unicode folds simple cases: the long s and the Kelvin sign are letters like others. */
function foldCase(key: string): string {
  return key.toUpperCase().toLowerCase()
}
