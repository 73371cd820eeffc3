// An S3-compatible bucket as an object store. Its client is loaded only where one is configured.
import { createReadStream } from 'node:fs'
import { Agent as HttpAgent } from 'node:http'
import { Agent } from 'node:https'
import { addAbortSignal, type Readable } from 'node:stream'
import type * as S3 from '@aws-sdk/client-s3'
import type { Upload as S3Upload } from '@aws-sdk/lib-storage'
import type { S3Config } from '../../config/cache/schema.ts'
import { insecureWarning, openPkcs12Files, readTlsProfile, type TlsOptions } from '../tls.ts'
import { s3Credentials } from './credentials.ts'
import { explainS3 } from './explain.ts'

/** Above this content is written in parts, bytes. */
const singlePutLimit = 64 * 2 ** 20
const partBytes = 16 * 2 ** 20
/** S3 takes 10,000 of them. */
const mostParts = 9000
/** S3 copies no more than this at once, bytes. */
const copyLimit = 5 * 2 ** 30
const connectMs = 2000
const usualIdle = 20_000
const mostSockets = 64
/** How often a part of a large object is sent: all others would have to be sent again. */
const partAttempts = 4

/**
 * Makes a client; asks nobody. Throws UsageError where the files of `tls` cannot be used.
 * @param options.idle how long a request goes on without a byte in either direction, ms
 */
export async function openS3Store(config: S3Config, { idle = usualIdle } = {}) {
  const { bucket, prefix } = config
  const [s3, { Upload }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('@aws-sdk/lib-storage'),
  ])
  const section = 'cache.shared.s3.tls'
  const tls = readTlsProfile(config.tls, section, await openPkcs12Files([config.tls]))
  const settings = await clientConfig(config, tls.own, idle)
  const client = new s3.S3Client(settings)
  const partClient = new s3.S3Client({ ...settings, maxAttempts: partAttempts })
  const at = (key: string) => ({ Bucket: bucket, Key: `${prefix}/${key}` })
  const bucketOf = { client, partClient, s3, Upload, bucket, prefix, at }
  return {
    /** What an operator should not leave so. */
    warnings: [
      ...(config.tls.verify ? [] : [insecureWarning(section)]),
      ...tls.warnings.map(({ path, message }) => `${path} ${message}`),
    ],
    name: `${config.endpoint ?? `S3 in ${config.region}`}, bucket ${bucket}`,
    ahead: watchClock(client),
    ...reading(bucketOf),
    ...writing(bucketOf),
    ...removing(bucketOf),
    explain: (error: unknown) => explainS3(error, config),
    close: () => client.destroy(),
  }
}

interface Bucket {
  client: S3.S3Client
  partClient: S3.S3Client
  s3: typeof S3
  Upload: typeof S3Upload
  bucket: string
  prefix: string
  /** Where an object lies. */
  at: (key: string) => { Bucket: string; Key: string }
}

/** Returns by how many ms the clock of this machine is ahead of that of the last answer. */
function watchClock(client: S3.S3Client): () => number {
  let ahead = 0
  client.middlewareStack.add(
    (next) => async (args) => {
      const result = await next(args)
      const { headers } = result.response as { headers?: Record<string, string> }
      const date = Date.parse(headers?.['date'] ?? '')
      if (!Number.isNaN(date)) ahead = Date.now() - date
      return result
    },
    { step: 'deserialize', name: 'watchClock' },
  )
  return () => ahead
}

function reading({ client, s3, bucket, prefix, at }: Bucket) {
  return {
    async get(key: string, { from = 0, signal }: { from?: number; signal: AbortSignal }) {
      const range = from === 0 ? {} : { Range: `bytes=${from}-` }
      const command = new s3.GetObjectCommand({ ...at(key), ...range })
      const found = await unlessAbsent(client.send(command, { abortSignal: signal }))
      if (found?.Body === undefined) return undefined
      const total = /\/(\d+)$/.exec(found.ContentRange ?? '')?.[1] ?? found.ContentLength
      // What is left unread would keep its connection.
      const body = addAbortSignal(signal, found.Body as Readable) as AsyncIterable<Buffer>
      return { size: Number(total), etag: found.ETag ?? '', body }
    },
    size: async (key: string, abortSignal?: AbortSignal): Promise<number | undefined> => {
      const command = new s3.HeadObjectCommand(at(key))
      const head = await unlessAbsent(client.send(command, abortSignal && { abortSignal }))
      return head?.ContentLength
    },
    async *list(start: string, abortSignal: AbortSignal) {
      const query = { Bucket: bucket, Prefix: `${prefix}/${start}` }
      let ContinuationToken: string | undefined
      do {
        const next = ContinuationToken === undefined ? {} : { ContinuationToken }
        const command = new s3.ListObjectsV2Command({ ...query, ...next })
        const page = await client.send(command, { abortSignal })
        for (const { Key = '', Size = 0, LastModified } of page.Contents ?? []) {
          const modified = LastModified?.getTime() ?? 0
          yield { key: Key.slice(prefix.length + 1), size: Size, modified }
        }
        ContinuationToken = page.NextContinuationToken
      } while (ContinuationToken !== undefined)
    },
  }
}

function writing({ client, partClient, s3, Upload, at }: Bucket) {
  /** What is replaced where the store does not know this is the same. */
  let unlessThere: { IfNoneMatch?: string } = { IfNoneMatch: '*' }

  async function whereAbsent<T>(write: (condition: typeof unlessThere) => Promise<T>): Promise<T> {
    try {
      return await write(unlessThere)
    } catch (error) {
      if (nameOf(error) !== 'NotImplemented' || unlessThere.IfNoneMatch === undefined) throw error
      unlessThere = {}
      return write(unlessThere)
    }
  }

  async function putIf(
    condition: Pick<S3.PutObjectCommandInput, 'IfMatch' | 'IfNoneMatch'>,
    { key, body, signal }: { key: string; body: Buffer; signal: AbortSignal | undefined },
  ) {
    const command = new s3.PutObjectCommand({ ...at(key), Body: body, ...condition })
    return client.send(command, signal && { abortSignal: signal })
  }

  async function putFileIf(
    condition: object,
    file: { key: string; path: string; size: number; sha256: string; signal: AbortSignal },
  ): Promise<void> {
    const { key, path, size, sha256, signal } = file
    signal.throwIfAborted()
    const target = { ...at(key), Body: createReadStream(path), ...condition }
    let abort = nothing
    try {
      if (size <= singlePutLimit) {
        const facts = { ContentLength: size, ChecksumSHA256: sha256 }
        const command = new s3.PutObjectCommand({ ...target, ...facts })
        await unlessOther(client.send(command, { abortSignal: signal }))
        return
      }
      const partSize = Math.max(partBytes, Math.ceil(size / mostParts))
      const upload = new Upload({ client: partClient, params: target, partSize, queueSize: 2 })
      abort = () => void upload.abort()
      signal.addEventListener('abort', abort, { once: true })
      await unlessOther(upload.done())
    } finally {
      signal.removeEventListener('abort', abort)
      target.Body.destroy()
    }
  }

  return {
    async put(
      key: string,
      body: Buffer,
      { ifAbsent, signal }: { ifAbsent: boolean; signal?: AbortSignal },
    ): Promise<boolean> {
      const write = async (condition: object) => putIf(condition, { key, body, signal })
      return (await unlessOther(ifAbsent ? whereAbsent(write) : write({}))) !== undefined
    },
    async swap(key: string, body: Buffer, etag: string | undefined, signal: AbortSignal) {
      const putOn = async (condition: Parameters<typeof putIf>[0]) => {
        const sent = unlessAbsent(putIf(condition, { key, body, signal }))
        // Somebody else writes it at this moment.
        return (await unlessOther(sent, 'ConditionalRequestConflict'))?.ETag
      }
      if (etag === undefined) return putOn({ IfNoneMatch: '*' })
      // Ceph's gateway tells etags in quotes, and knows them without quotes only.
      return (await putOn({ IfMatch: etag })) ?? putOn({ IfMatch: etag.replaceAll('"', '') })
    },
    putFile: async (
      key: string,
      file: { path: string; size: number; sha256: string },
      signal: AbortSignal,
    ): Promise<void> =>
      whereAbsent(async (condition) => putFileIf(condition, { ...file, key, signal })),
  }
}

function removing(all: Bucket) {
  const { client, s3, bucket, prefix, at } = all
  const { size } = reading(all)

  async function remove(key: string, abortSignal?: AbortSignal): Promise<void> {
    const command = new s3.DeleteObjectCommand(at(key))
    await client.send(command, abortSignal && { abortSignal })
  }

  async function removeSingly(keys: readonly string[], signal: AbortSignal) {
    for (const key of keys) await remove(key, signal)
    return []
  }

  return {
    remove: async (key: string) => remove(key),
    async move(key: string, target: string) {
      const bytes = await size(key)
      if (bytes === undefined) return
      if (bytes < copyLimit) {
        const CopySource = `${bucket}/${prefix}/${key}`
        await unlessAbsent(client.send(new s3.CopyObjectCommand({ ...at(target), CopySource })))
      }
      await remove(key)
    },
    async removeAll(keys: readonly string[], abortSignal: AbortSignal) {
      const Objects = keys.map((key) => ({ Key: at(key).Key }))
      const Delete = { Objects, Quiet: true }
      const command = new s3.DeleteObjectsCommand({ Bucket: bucket, Delete })
      try {
        const { Errors = [] } = await client.send(command, { abortSignal })
        return Errors.map(({ Key = '', Code = '', Message = '' }) => ({
          key: Key.slice(prefix.length + 1),
          reason: Message === '' ? Code : Message,
        }))
      } catch (error) {
        if (!knowsNoBatches.has(nameOf(error))) throw error
        return removeSingly(keys, abortSignal)
      }
    },
  }
}

/** How stores answer that cannot remove several at once, or want another checksum for it. */
const knowsNoBatches: ReadonlySet<string> = new Set([
  'NotImplemented',
  'MethodNotAllowed',
  'MissingContentMD5',
])

async function clientConfig(
  config: S3Config,
  own: TlsOptions,
  socketTimeout: number,
): Promise<S3.S3ClientConfig> {
  const { endpoint, region, pathStyle } = config
  const { NodeHttpHandler } = await import('@smithy/node-http-handler')
  const pool = { keepAlive: true, maxSockets: mostSockets }
  return {
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: pathStyle,
    ...(await s3Credentials(config)),
    // Whoever asks has its own ways to go on.
    maxAttempts: 1,
    logger: silent,
    // The digest is checked here, and says more.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: new NodeHttpHandler({
      httpsAgent: new Agent({ ...pool, ...own }),
      httpAgent: new HttpAgent(pool),
      connectionTimeout: connectMs,
      socketTimeout,
    }),
  }
}

const nothing = (): void => undefined
/** What goes wrong is told here; the client would write to the console. */
const silent = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }

/** undefined: there is no such object. */
async function unlessAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (['NoSuchKey', 'NotFound'].includes(nameOf(error))) return undefined
    throw error
  }
}

/** undefined: another object is there already (`If-None-Match: *` and `If-Match`, RFC 9110 section 13.1). */
async function unlessOther<T>(answer: Promise<T>, ...more: string[]): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (['PreconditionFailed', ...more].includes(nameOf(error))) return undefined
    throw error
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}
