// States how often an upstream is asked again, and for how long: the budget of every kind of request.

/**
 * One exchange, whatever it is for: what fails before there is content is asked for again up to
 * `retries` times, the first time after about `delay` ms and then three times as long each, and not
 * once `within` ms have passed. An exchange is up to four requests within ten seconds.
 */
export const exchangeBudget = { retries: 3, within: 10_000, delay: 100 }

/**
 * A blob: exchanges that fail in a row without a byte of progress, once there was content. An
 * upstream that is down while a blob comes is asked twenty-four times within about a minute and a
 * half before its readers are told; before the first byte, four, and a status of 500 as `answerBudget` has it.
 * Where somebody has time, such as the shelf, what has come is kept all the same (`patience`): the
 * others are told, and it is asked for again once in a while, which comes first to whoever joins.
 */
export const blobBudget = {
  failures: 5,
  // About every ten seconds for a week.
  patience: { failures: 60_000, times: 50 },
}

/**
 * A manifest or a list: exchanges that follow one which broke off in its body, or that ended with a
 * status of 500, each after about `delay` ms; the latter holds for a blob too. Where the upstream stalls each time, its clients are
 * told after three times `stallTimeout`.
 */
export const answerBudget = { repeats: 2, delay: 200 }
