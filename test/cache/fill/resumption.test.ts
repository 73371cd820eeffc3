// What each kind of answer means for a download that begins, or that has begun.
import t from 'tap'
import {
  judgeResponse,
  type FillProgress,
  type ResponseVerdict,
} from '../../../src/cache/fill/resumption.ts'
import { digestOf } from '../../../src/oci/digest.ts'

type Headers = Record<string, string>

const digest = digestOf('a blob')
const nothing = digestOf('', 'sha512')
const cold: FillProgress = { digest, from: undefined, received: 0, size: undefined }
/** 300 of 900 bytes are there, and the rest was asked for; or all of it was. */
const resumed: FillProgress = { digest, from: 300, received: 300, size: 900 }
const again: FillProgress = { ...resumed, from: undefined }
const ofUnknown: FillProgress = { ...resumed, size: undefined }

const length = (bytes: number): Headers => ({ 'content-length': String(bytes) })
const range = (text: string): Headers => ({ 'content-range': text })
const tebibyte = 2 ** 40

/** Of `body`: the size, and `over` where it begins at the beginning once more. */
const cases: [what: string, status: number, headers: Headers, FillProgress, expected: string][] = [
  ['the blob', 200, length(900), cold, 'body 900'],
  ['the blob without a length', 200, {}, cold, 'body ?'],
  ['a length that is none', 200, { 'content-length': '9e2' }, cold, 'body ?'],
  ['an encoding', 200, { ...length(9), 'content-encoding': 'x-gzip' }, cold, 'body 9'],
  ['no bytes', 200, length(0), cold, 'fail digest_mismatch'],
  ['no bytes of nothing', 200, length(0), { ...cold, digest: nothing }, 'body 0'],
  ['as many as there may be', 200, length(tebibyte), cold, `body ${tebibyte}`],
  ['more than there may be', 200, length(tebibyte + 1), cold, 'fail bad_response'],
  ['a part of more', 206, range(`bytes 0-9/${tebibyte + 1}`), cold, 'fail bad_response'],
  ['absent', 404, {}, cold, 'fail BLOB_UNKNOWN'],
  ['a method not allowed', 405, {}, cold, 'fail bad_response'],
  ['no such range, of all', 416, {}, cold, 'fail bad_response'],
  ['the whole as a part', 206, range('bytes 0-899/900'), cold, 'body 900'],
  ['the beginning as a part', 206, range('bytes 0-99/900'), cold, 'body 900'],
  ['another part', 206, range('bytes 1-899/900'), cold, 'fail bad_response'],
  ['a part of no bytes', 206, range('bytes 0-0/0'), cold, 'fail digest_mismatch'],
  ['a part that says nothing', 206, {}, cold, 'fail bad_response'],

  ['the rest', 206, range('bytes 300-899/900'), resumed, 'body 900'],
  ['a piece of the rest', 206, range('bytes 300-399/900'), resumed, 'body 900'],
  ['the rest of an unknown size', 206, range('bytes 300-899/*'), resumed, 'body 900'],
  ['the rest, now with a size', 206, range('bytes 300-899/900'), ofUnknown, 'body 900'],
  ['the rest, still without', 206, range('bytes 300-899/*'), ofUnknown, 'body ?'],
  ['the rest of another size', 206, range('bytes 300-899/901'), resumed, 'retry bad_response'],
  ['one byte further', 206, range('bytes 301-899/900'), resumed, 'retry bad_response'],
  ['the beginning instead', 206, range('bytes 0-899/900'), resumed, 'retry bad_response'],
  ['no Content-Range', 206, {}, resumed, 'retry bad_response'],
  ['another unit', 206, range('items 300-899/900'), resumed, 'retry bad_response'],
  ['an equals sign', 206, range('bytes=300-899/900'), resumed, 'retry bad_response'],
  ['more behind it', 206, range('bytes 300-899/900, bytes 0-1/2'), resumed, 'retry bad_response'],
  ['everything', 200, length(900), resumed, 'body 900 over'],
  ['everything, without a length', 200, {}, resumed, 'body 900 over'],
  ['everything, of another size', 200, length(901), resumed, 'retry bad_response'],
  ['no bytes', 200, length(0), resumed, 'retry bad_response'],
  ['no bytes, of an unknown size', 200, length(0), ofUnknown, 'retry digest_mismatch'],
  ['no such range', 416, {}, resumed, 'retry bad_response'],
  ['no such range: it was all', 416, {}, ofUnknown, 'wrong'],
  ['absent', 404, {}, resumed, 'retry BLOB_UNKNOWN'],
  ['everything was asked for', 200, length(900), again, 'body 900 over'],
  ['as a part', 206, range('bytes 0-899/900'), again, 'body 900 over'],
  ['the rest, unasked', 206, range('bytes 300-899/900'), again, 'retry bad_response'],
]

for (const [what, status, headers, progress, expected] of cases) {
  const { from, received } = progress
  t.equal(
    textOf(judgeResponse({ status, headers }, progress)),
    expected,
    `${what} (${from}, ${received})`,
  )
}

function textOf(verdict: ResponseVerdict): string {
  if (verdict.kind === 'wrong') return verdict.kind
  if (verdict.kind !== 'body') {
    return `${verdict.kind} ${verdict.error.reason ?? verdict.error.code}`
  }
  return `body ${verdict.size ?? '?'}${verdict.startsOver ? ' over' : ''}`
}
