// The admin API for commands on the same machine: a Unix-domain socket in the cache folder, for its owner.
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  constants,
  openSync,
  renameSync,
  statSync,
  unlinkSync,
} from 'node:fs'
import type { IncomingMessage, RequestListener } from 'node:http'
import { basename, join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { Logger } from 'pino'
import { foldersIn, newTemporary } from '../cache/disk/folder.ts'
import { systemCode } from '../errors.ts'
import { createServer, request } from '../rules/rare/node-http.ts'

const fileName = 'control.sock'
const local = Symbol('local')

/** Whether a request came by the socket. */
export function isLocal(request: IncomingMessage & { [local]?: true }): boolean {
  return request[local] === true
}

export interface ControlSocket {
  /** May be called again. */
  close: () => Promise<void>
}

/** The same, undefined where it cannot be: commands do by themselves what they cannot ask for. */
export async function openControl(
  dir: string,
  { handler, log }: { handler: RequestListener; log: Logger },
): Promise<ControlSocket | undefined> {
  try {
    return await listenInFolder(dir, handler)
  } catch (error) {
    log.warn({ err: error }, 'commands on the cache cannot ask this gateway: no control.sock')
    return undefined
  }
}

/**
 * Listens in the cache folder `dir`. Of several gateways on one folder the last one answers. Rejects
 * as the file system does, for a folder that cannot be written.
 * @param name of the socket, below the folder
 */
export async function listenInFolder(
  dir: string,
  handler: RequestListener,
  name = fileName,
): Promise<ControlSocket> {
  const folder = enterFolder(dir)
  const server = createServer((req: IncomingMessage & { [local]?: true }, res) => {
    req[local] = true
    handler(req, res)
  })
  try {
    const temporary = basename(newTemporary(foldersIn(dir)))
    server.listen(join(folder.path, 'tmp', temporary))
    await once(server, 'listening')
    const path = join(dir, 'tmp', temporary)
    chmodSync(path, 0o600)
    const { ino } = statSync(path)
    renameSync(path, join(dir, name))
    return {
      async close() {
        if (!server.listening) return
        server.close()
        server.closeAllConnections()
        await once(server, 'close')
        removeOwn(join(dir, name), ino)
        folder.leave()
      },
    }
  } catch (error) {
    server.close()
    folder.leave()
    throw error
  }
}

export interface LocalRequest {
  method: string
  path: string
  body?: unknown
  /** How long an answer may take, ms; for ever when absent, as pruning may. */
  patience?: number
  /** The name of another socket, below the folder. */
  name?: string
}

/**
 * The answer of the gateway that uses the cache folder `dir`; undefined where none does. Rejects where
 * it does not answer, or may not be asked.
 */
export async function askInFolder(
  dir: string,
  { method, path, body, patience = 0, name = fileName }: LocalRequest,
): Promise<{ status: number; body: string } | undefined> {
  let folder
  try {
    folder = enterFolder(dir)
    const socketPath = join(folder.path, name)
    const headers = body === undefined ? {} : { 'content-type': 'application/json' }
    const asked = request({ socketPath, method, path, headers: { host: 'localhost', ...headers } })
    asked.setTimeout(patience, () => {
      asked.destroy(new Error('the gateway does not answer: see its log, or end it'))
    })
    asked.end(body === undefined ? undefined : JSON.stringify(body))
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    return { status: response.statusCode ?? 0, body: await text(response) }
  } catch (error) {
    // Nobody has ever been there; or whoever was, is not any more.
    if (['ENOENT', 'ECONNREFUSED', 'ENOTSOCK'].includes(systemCode(error))) return undefined
    throw error
  } finally {
    folder?.leave()
  }
}

/** The path of a socket has 107 bytes at most: by the descriptor of its folder it is always short. */
export function enterFolder(dir: string): { path: string; leave: () => void } {
  const fd = openSync(dir, constants.O_RDONLY | constants.O_DIRECTORY)
  const path = `/proc/self/fd/${fd}`
  const isThere = statSync(path, { throwIfNoEntry: false }) !== undefined
  return { path: isThere ? path : dir, leave: () => closeSync(fd) }
}

/** Unless it is another gateway's by now. */
function removeOwn(path: string, inode: number): void {
  if (statSync(path, { throwIfNoEntry: false })?.ino === inode) unlinkSync(path)
}
