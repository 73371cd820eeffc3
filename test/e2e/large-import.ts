// `node test/e2e/large-import.ts [GIB] [docker|oci]`: imports an archive of GIB (5) random gibibytes
// in four layers, and tells how long that took and the most memory that the importer had resident.
import { spawn } from 'node:child_process'
import { createCipheriv, createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { pack } from 'tar-stream'
import { digestOf, hexOf, type Digest } from '../../src/oci/digest.ts'

const main = join(import.meta.dirname, '../../src/main.ts')
const layerCount = 4
const piece = Buffer.alloc(2 ** 20)
const limitMiB = 200

const [gib = '5', kind = 'docker'] = process.argv.slice(2)
const folder = mkdtempSync(join(tmpdir(), 'large-import-'))
try {
  const archive = join(folder, 'large.tar')
  await writeArchive(archive, Math.round((Number(gib) * 1024) / layerCount), kind === 'oci')
  await writeFile(
    join(folder, 'gateway.yaml'),
    'listen: { insecureHttp: true }\ncache: { dir: cache }\nupstreams: { docker.io: {} }\n',
  )
  const { seconds, peakMiB } = await measure(archive)
  process.stdout.write(`${gib} GiB ${kind}: ${seconds.toFixed(1)} s, ${peakMiB} MiB resident\n`)
  process.exitCode = peakMiB < limitMiB ? 0 : 1
} finally {
  rmSync(folder, { recursive: true })
}

/** The same bytes for the same layer, at any size: a key stream. */
function* layerPieces(layer: number, pieces: number): Generator<Buffer> {
  const key = createHash('sha256').update(`layer ${layer}`).digest()
  const cipher = createCipheriv('aes-256-ctr', key, Buffer.alloc(16))
  for (let index = 0; index < pieces; index += 1) yield cipher.update(piece)
}

async function writeArchive(path: string, pieces: number, isLayout: boolean): Promise<void> {
  const tar = pack()
  const written = pipeline(tar, createWriteStream(path))
  const size = pieces * piece.length
  const layers = Array.from({ length: layerCount }, (_, layer) => {
    const hash = createHash('sha256')
    for (const bytes of layerPieces(layer, pieces)) hash.update(bytes)
    return { layer, size, digest: `sha256:${hash.digest('hex')}` as Digest }
  })
  const nameOf = (digest: Digest) =>
    isLayout ? `blobs/sha256/${hexOf(digest)}` : `${hexOf(digest)}.tar`
  for (const { layer, digest } of layers) {
    const entry = tar.entry({ name: nameOf(digest), size })
    for (const bytes of layerPieces(layer, pieces)) {
      if (!entry.write(Buffer.from(bytes))) await once(entry, 'drain')
    }
    entry.end(undefined)
    await once(entry, 'finish')
  }
  const config = json({ rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) } })
  const add = (name: string, bytes: Buffer) => tar.entry({ name }, bytes)
  if (isLayout) addLayout(add, config, layers)
  else {
    add('config.json', config)
    const names = layers.map(({ digest }) => nameOf(digest))
    add('manifest.json', json([{ Config: 'config.json', RepoTags: ['large:1'], Layers: names }]))
  }
  tar.finalize()
  await written
}

function addLayout(
  add: (name: string, bytes: Buffer) => void,
  config: Buffer,
  layers: readonly { digest: Digest; size: number }[],
): void {
  const addBlob = (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes)
    add(`blobs/sha256/${hexOf(digest)}`, bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const manifest = json({
    schemaVersion: 2,
    config: addBlob('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map(({ digest, size }) => ({
      mediaType: 'application/vnd.oci.image.layer.v1.tar',
      digest,
      size,
    })),
  })
  const annotations = { 'org.opencontainers.image.ref.name': 'large:1' }
  const entry = { ...addBlob('application/vnd.oci.image.manifest.v1+json', manifest), annotations }
  add('index.json', json({ schemaVersion: 2, manifests: [entry] }))
  add('oci-layout', json({ imageLayoutVersion: '1.0.0' }))
}

async function measure(archive: string): Promise<{ seconds: number; peakMiB: number }> {
  const start = performance.now()
  const config = join(folder, 'gateway.yaml')
  const child = spawn(
    process.execPath,
    [main, 'import', archive, '--as', 'docker.io', '--config', config],
    {
      stdio: 'inherit',
    },
  )
  let peakKiB = 0
  const timer = setInterval(() => {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    peakKiB = Math.max(peakKiB, Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0))
  }, 50)
  const [code] = (await once(child, 'exit')) as [number | null]
  clearInterval(timer)
  if (code !== 0) throw new Error(`the import ended with ${code}`)
  return { seconds: (performance.now() - start) / 1000, peakMiB: Math.round(peakKiB / 1024) }
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value))
}
