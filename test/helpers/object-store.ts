// A real object store on a free port, and a way to it that can be cut, slowed or made to answer 503.
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { setTimeout as wait } from 'node:timers/promises'
import type { Test } from 'tap'
import type { ObjectStore } from '../../src/cache/shared/object-store.ts'
import type { S3Config } from '../../src/config/cache/schema.ts'
import { openS3Store } from '../../src/upstream/s3/s3-store.ts'
import { findGoProgram } from '../e2e/lab/go-program.ts'
import { optionsFor } from '../requirements.ts'
import { startCeph } from './ceph.ts'

/** What the way to the store does: a number is bytes a second. */
export type Way = 'open' | 'cut' | 'unavailable' | number

/** `versity` keeps objects as files of a folder. */
export type StoreKind = 'versity' | 'ceph'

export interface TestObjectStore {
  config: S3Config
  /** The folder whose files are the objects of the bucket, below the prefix; of `versity` only. */
  folder: string
  /** All that the tests look at and change there, past whatever is on the way. */
  objects: StoredObjects
  way: (way: Way) => void
  /** A client of its own, as a gateway has it. */
  open: (changes?: Partial<S3Config>) => Promise<ObjectStore>
  /** Stops the store itself; `start` has it back, on the same port. */
  stop: () => Promise<void>
  start: () => Promise<void>
}

export interface StoredObjects {
  read: (key: string) => Promise<Buffer | undefined>
  write: (key: string, bytes: Buffer | string) => Promise<void>
  keys: (prefix: string) => Promise<string[]>
}

const user = 'test-access'
const secret = 'test-secret-key'
const bucket = 'images'

/** Whose tests are run: where another file runs them again, with another store. */
export const storeKind: StoreKind = process.env['TEST_STORE'] === 'ceph' ? 'ceph' : 'versity'

/** Options for every `t.test` that needs one: no package of Debian brings it quickly, so that CI may do without. */
export function withObjectStore(kind = storeKind): { skip?: string } {
  if (kind === 'ceph') return optionsFor('ceph')
  if (findGoProgram('versitygw') !== undefined) return {}
  return {
    skip: 'versitygw not found: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0',
  }
}

/** Starts it with an empty bucket; stopped with the test. Sets the credentials in the environment. */
export async function startObjectStore(
  t: Pick<Test, 'teardown'>,
  folder: string,
  kind = storeKind,
): Promise<TestObjectStore> {
  const { port, stop, start } =
    kind === 'ceph' ? await startCeph(t, folder, { user, secret }) : await startVersity(t, folder)
  const shim = await startShim(t, port)
  process.env['AWS_ACCESS_KEY_ID'] = user
  process.env['AWS_SECRET_ACCESS_KEY'] = secret
  const config: S3Config = {
    endpoint: `http://127.0.0.1:${shim.port}`,
    region: 'us-east-1',
    bucket,
    prefix: 'portcullis',
    pathStyle: true,
    credentials: { profile: 'default' },
    tls: { verify: true },
  }
  const near = { ...config, endpoint: `http://127.0.0.1:${port}` }
  if (kind === 'ceph') await makeBucket(near)
  const store = await openS3Store(near)
  t.teardown(store.close)
  return {
    config,
    folder: join(folder, bucket, config.prefix),
    objects: objectsOf(store),
    way: shim.way,
    open: async (changes) => openS3Store({ ...config, ...changes }),
    stop,
    start,
  }
}

async function startVersity(t: Pick<Test, 'teardown'>, folder: string) {
  const program = findGoProgram('versitygw') ?? ''
  mkdirSync(join(folder, bucket), { recursive: true })
  const port = await freePort()
  let running: ChildProcess | undefined
  const start = async () => {
    running = spawn(program, ['--port', `127.0.0.1:${port}`, '--quiet', 'posix', folder], {
      env: { ...process.env, ROOT_ACCESS_KEY: user, ROOT_SECRET_KEY: secret },
      stdio: 'ignore',
    })
    while (!(await isOpen(port))) await wait(20)
  }
  const stop = async () => {
    const ended = running === undefined ? undefined : once(running, 'exit')
    running?.kill('SIGKILL')
    await ended
    running = undefined
  }
  t.teardown(stop)
  await start()
  return { port, stop, start }
}

async function makeBucket({ endpoint, region }: S3Config): Promise<void> {
  const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3')
  const credentials = { accessKeyId: user, secretAccessKey: secret }
  const client = new S3Client({
    ...(endpoint && { endpoint }),
    region,
    credentials,
    forcePathStyle: true,
  })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
}

function objectsOf(store: ObjectStore): StoredObjects {
  const { signal } = new AbortController()
  return {
    async read(key) {
      const object = await store.get(key, { signal })
      return object && buffer(object.body)
    },
    write: async (key, bytes) =>
      void (await store.put(key, Buffer.from(bytes), { ifAbsent: false })),
    async keys(prefix) {
      const keys: string[] = []
      for await (const { key } of store.list(prefix, signal)) keys.push(key)
      return keys
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

async function startShim(t: Pick<Test, 'teardown'>, target: number) {
  const sockets = new Set<Socket>()
  let way: Way = 'open'
  const server = createServer((client) => {
    sockets.add(client)
    client.on('error', () => client.destroy()).on('close', () => sockets.delete(client))
    if (way === 'cut') return void client.destroy()
    if (way === 'unavailable') return void client.once('data', () => client.end(unavailable))
    const store = connect(target, '127.0.0.1')
    store.on('error', () => client.destroy())
    client.on('close', () => store.destroy())
    client.pipe(store)
    return void passOn(store, client, () => way)
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return {
    port: (server.address() as AddressInfo).port,
    /** Connections that are open are closed, unless it is only slow from now on. */
    way: (next: Way): void => {
      way = next
      if (typeof next !== 'number') for (const socket of sockets) socket.destroy()
    },
  }
}

const unavailable =
  'HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n'

async function passOn(store: Socket, client: Socket, way: () => Way): Promise<void> {
  try {
    for await (const chunk of store as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length;) {
        const now = way()
        const count = typeof now === 'number' ? Math.ceil(now / 20) : chunk.length
        if (typeof now === 'number') await wait(50)
        client.write(chunk.subarray(at, at + count))
        at += count
      }
    }
    client.end()
  } catch {
    // Whoever closed it knows.
  }
}
