// Bytes to a port and back, as they are.
import { connect } from 'node:net'

/** How long an answer may take, ms: a test that waits for ever does not say what is wrong. */
const patience = 20_000

/** Sends `bytes` and returns what comes until the server closes. Rejects where it does not. */
export async function sendRaw(port: number, bytes: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  try {
    return await new Promise((resolve, reject) => {
      setTimeout(reject, patience, new Error(`not closed after ${text}`)).unref()
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
      socket.on('error', () => undefined)
      socket.on('close', () => resolve(text))
      socket.write(bytes, 'latin1')
    })
  } finally {
    socket.destroy()
  }
}
