// An S3-compatible bucket as an object store. Its client is loaded only where one is configured.
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { Agent as HttpAgent } from 'node:http'
import { Agent } from 'node:https'
import { addAbortSignal, type Readable } from 'node:stream'
import type { S3ClientConfig } from '@aws-sdk/client-s3'
import type { S3Config } from '../../config/cache/schema.ts'
import { insecureWarning, openPkcs12Files, readTlsProfile, type TlsOptions } from '../tls.ts'
import { explainS3 } from './explain.ts'

/** Above this content is written in parts, bytes. */
const singlePutLimit = 64 * 2 ** 20
const partBytes = 16 * 2 ** 20
/** S3 takes 10,000 of them. */
const mostParts = 9000
/** S3 copies no more than this at once, bytes. */
const copyLimit = 5 * 2 ** 30
const connectMs = 2000
/** Without a byte in either direction, ms. */
const idleMs = 20_000
const mostSockets = 64

/**
 * Makes a client; asks nobody. Throws UsageError where the files of `tls` cannot be used.
 */
export async function openS3Store(config: S3Config) {
  const { bucket, prefix } = config
  const [s3, { Upload }] = await Promise.all([
    import('@aws-sdk/client-s3'),
    import('@aws-sdk/lib-storage'),
  ])
  const section = 'cache.shared.s3.tls'
  const tls = readTlsProfile(config.tls, section, await openPkcs12Files([config.tls]))
  const client = new s3.S3Client(await clientConfig(config, tls.own))
  const at = (key: string) => ({ Bucket: bucket, Key: `${prefix}/${key}` })

  async function size(key: string, abortSignal?: AbortSignal): Promise<number | undefined> {
    const command = new s3.HeadObjectCommand(at(key))
    const head = await unlessAbsent(client.send(command, abortSignal && { abortSignal }))
    return head?.ContentLength
  }

  async function remove(key: string): Promise<void> {
    await client.send(new s3.DeleteObjectCommand(at(key)))
  }

  return {
    /** What an operator should not leave so. */
    warnings: [
      ...(config.tls.verify ? [] : [insecureWarning(section)]),
      ...tls.warnings.map(({ path, message }) => `${path} ${message}`),
    ],
    name: `${config.endpoint ?? `S3 in ${config.region}`}, bucket ${bucket}`,
    async get(key: string, { from = 0, signal }: { from?: number; signal: AbortSignal }) {
      const range = from === 0 ? {} : { Range: `bytes=${from}-` }
      const command = new s3.GetObjectCommand({ ...at(key), ...range })
      const found = await unlessAbsent(client.send(command, { abortSignal: signal }))
      if (found?.Body === undefined) return undefined
      const total = /\/(\d+)$/.exec(found.ContentRange ?? '')?.[1] ?? found.ContentLength
      // What is left unread would keep its connection.
      const body = addAbortSignal(signal, found.Body as Readable)
      return { size: Number(total), body: body as AsyncIterable<Buffer> }
    },
    size,
    async put(key: string, body: Buffer, { ifAbsent }: { ifAbsent: boolean }): Promise<boolean> {
      const condition = ifAbsent ? { IfNoneMatch: '*' } : {}
      const command = new s3.PutObjectCommand({ ...at(key), Body: body, ...condition })
      return unlessThere(client.send(command))
    },
    async putFile(key: string, file: string, bytes: number, sha256: string | undefined) {
      const target = { ...at(key), Body: createReadStream(file), IfNoneMatch: '*' }
      try {
        if (bytes <= singlePutLimit) {
          const sum = sha256 === undefined ? {} : { ChecksumSHA256: sha256 }
          const command = new s3.PutObjectCommand({ ...target, ContentLength: bytes, ...sum })
          await unlessThere(client.send(command))
          return
        }
        const partSize = Math.max(partBytes, Math.ceil(bytes / mostParts))
        const upload = new Upload({ client, params: target, partSize, queueSize: 2 })
        await unlessThere(upload.done())
      } finally {
        target.Body.destroy()
      }
    },
    async move(key: string, target: string) {
      const bytes = await size(key)
      if (bytes === undefined) return
      if (bytes < copyLimit) {
        const CopySource = `${bucket}/${prefix}/${key}`
        await unlessAbsent(client.send(new s3.CopyObjectCommand({ ...at(target), CopySource })))
      }
      await remove(key)
    },
    remove,
    async *list(start: string, abortSignal: AbortSignal): AsyncGenerator<string> {
      const query = { Bucket: bucket, Prefix: `${prefix}/${start}` }
      let ContinuationToken: string | undefined
      do {
        const next = ContinuationToken === undefined ? {} : { ContinuationToken }
        const command = new s3.ListObjectsV2Command({ ...query, ...next })
        const page = await client.send(command, { abortSignal })
        for (const { Key = '' } of page.Contents ?? []) yield Key.slice(prefix.length + 1)
        ContinuationToken = page.NextContinuationToken
      } while (ContinuationToken !== undefined)
    },
    explain: (error: unknown) => explainS3(error, config),
    close: () => client.destroy(),
  }
}

async function clientConfig(config: S3Config, own: TlsOptions): Promise<S3ClientConfig> {
  const { endpoint, region, pathStyle } = config
  const { NodeHttpHandler } = await import('@smithy/node-http-handler')
  const pool = { keepAlive: true, maxSockets: mostSockets }
  return {
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    forcePathStyle: pathStyle,
    ...(await credentialsOf(config)),
    // Whoever asks has its own ways to go on.
    maxAttempts: 1,
    logger: silent,
    // The digest is checked here, and says more.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: new NodeHttpHandler({
      httpsAgent: new Agent({ ...pool, ...own }),
      httpAgent: new HttpAgent(pool),
      connectionTimeout: connectMs,
      socketTimeout: idleMs,
    }),
  }
}

const nothing = (): void => undefined
/** What goes wrong is told here; the client would write to the console. */
const silent = { trace: nothing, debug: nothing, info: nothing, warn: nothing, error: nothing }

async function credentialsOf({ credentials, region }: S3Config): Promise<S3ClientConfig> {
  const { file, profile, tokenFile, roleArn } = credentials
  if (file !== undefined) return { credentials: async () => readCredentials(file, profile) }
  if (tokenFile === undefined || roleArn === undefined) return {}
  const { fromTokenFile } = await import('@aws-sdk/credential-provider-web-identity')
  const role = { webIdentityTokenFile: tokenFile, roleArn }
  return { credentials: fromTokenFile({ ...role, clientConfig: { region } }) }
}

/** How long they are used before the file is read again, ms. */
const credentialsFor = 60_000

/** Rejects with an Error `CredentialsFile` that says what is missing, and never what is there. */
async function readCredentials(file: string, profile: string) {
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw credentialsError(`${file} cannot be read`, cause)
  })
  const found = new Map<string, string>()
  let section = 'default'
  for (const line of text.split(/\r?\n/)) {
    const name = /^\s*\[([^\]]+)\]\s*$/.exec(line)?.[1]?.trim()
    if (name !== undefined) section = name
    const equals = line.indexOf('=')
    if (section !== profile || equals < 0) continue
    found.set(line.slice(0, equals).trim().toLowerCase(), line.slice(equals + 1).trim())
  }
  const accessKeyId = found.get('aws_access_key_id')
  const secretAccessKey = found.get('aws_secret_access_key')
  const sessionToken = found.get('aws_session_token')
  if (!accessKeyId || !secretAccessKey) {
    throw credentialsError(
      `${file} has no aws_access_key_id and aws_secret_access_key in the section ${profile}`,
    )
  }
  const expiration = new Date(Date.now() + credentialsFor)
  const session = sessionToken === undefined ? {} : { sessionToken }
  return { accessKeyId, secretAccessKey, ...session, expiration }
}

function credentialsError(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { name: 'CredentialsFile' })
}

/** undefined: there is no such object. */
async function unlessAbsent<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer
  } catch (error) {
    if (['NoSuchKey', 'NotFound'].includes(nameOf(error))) return undefined
    throw error
  }
}

/** False: there is such an object already (`If-None-Match: *`, RFC 9110 section 13.1.2). */
async function unlessThere(answer: Promise<unknown>): Promise<boolean> {
  try {
    await answer
    return true
  } catch (error) {
    if (nameOf(error) === 'PreconditionFailed') return false
    throw error
  }
}

function nameOf(error: unknown): string {
  return error instanceof Error ? error.name : ''
}
