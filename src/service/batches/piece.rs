//! A piece of a batch: some of its lines with their answers. Owns how many are answered in one turn, the words in which an answer is
//! written down, and that a piece is one transaction with the fencing token: its answers, the batch's progress and what was used.

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::Instant;

use futures::future::join_all;
use serde_json::Value;
use serde_json::json;

use crate::domain::batch::BatchEndpoint;
use crate::domain::batch::RequestLine;
use crate::domain::batch::read_line;
use crate::instruments;
use crate::service::batches::endpoints::LineAnswer;
use crate::service::batches::endpoints::LineCall;
use crate::service::batches::room::refusal;
use crate::service::batches::turns::Stop;
use crate::service::batches::turns::Work;
use crate::service::context::Result;
use crate::service::context::commit;
use crate::service::error::ServiceError;
use crate::service::files::row_reader::read_records;
use crate::store::Tx;
use crate::store::batches;
use crate::store::batches::NewPiece;
use crate::store::blobs::BlobKind;
use crate::store::blobs::BlobRef;
use crate::store::files::FileRow;
use crate::store::usage;
use crate::store::usage::Amounts;
use crate::store::usage::Consumer;

/// A piece takes no more lines when its answers have so many bytes.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Nor when it has taken so long: feature jobs and other batches want their turn.
const LONGEST: Duration = Duration::from_secs(5);
/// Pause while the device is busy.
const RETRY: Duration = Duration::from_millis(100);
/// A line that cannot be answered for so long ends the turn.
const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of the lines of a piece.
enum Verdict {
    /// Each is answered.
    Answer,
    /// Each is refused for the same reason.
    Refuse(ServiceError),
    /// None is carried out any more.
    TooLate,
}

/// Lines with their answers.
#[derive(Default)]
struct Answers {
    output: Vec<u8>,
    errors: Vec<u8>,
    completed: u64,
    failed: u64,
    used: BTreeMap<String, Amounts>,
    late: bool,
}

impl Answers {
    fn lines(&self) -> u64 {
        self.completed + self.failed
    }

    fn is_full(&self) -> bool {
        self.output.len() + self.errors.len() >= MOST_BYTES
    }

    fn tokens(&self) -> i64 {
        self.used.values().map(|amounts| amounts.inference_tokens).sum()
    }

    fn add(&mut self, id: &LineId<'_>, answer: LineAnswer) {
        match answer.used {
            None => {
                id.write(&mut self.errors, Outcome::Answered(&answer));
                self.failed += 1;
            }
            Some(ref used) => {
                id.write(&mut self.output, Outcome::Answered(&answer));
                self.completed += 1;
                let sum = self.used.entry(used.model.clone()).or_default();
                sum.inference_tokens += used.amounts.inference_tokens;
                sum.bytes_in += used.amounts.bytes_in;
                sum.bytes_out += used.amounts.bytes_out;
                sum.device_us += used.amounts.device_us;
            }
        }
    }

    fn add_late(&mut self, id: &LineId<'_>) {
        id.write(&mut self.errors, Outcome::TooLate);
        self.failed += 1;
        self.late = true;
    }
}

/// How a line went.
enum Outcome<'a> {
    Answered(&'a LineAnswer),
    TooLate,
}

/// What names a line in the files of its batch.
struct LineId<'a> {
    batch: String,
    number: u64,
    custom_id: &'a str,
}

impl LineId<'_> {
    /// One line of a file, in OpenAI's form. The answer's body is copied as it is: the bytes are those of a live call.
    fn write(&self, file: &mut Vec<u8>, outcome: Outcome<'_>) {
        let Self { batch, number, custom_id } = self;
        let custom_id = Value::from(*custom_id);
        file.extend(
            format!("{{\"id\":\"batch_req_{batch}{number:x}\",\"custom_id\":{custom_id},\"response\":").bytes(),
        );
        match outcome {
            Outcome::Answered(LineAnswer { status, body, .. }) => {
                let head = format!("{{\"status_code\":{status},\"request_id\":\"req_{batch}{number:x}\",\"body\":");
                file.extend(head.bytes());
                file.extend(body);
                file.extend(b"},\"error\":null}\n");
            }
            Outcome::TooLate => {
                let message = "The completion window passed before this request was carried out.";
                let error = json!({"code": "batch_expired", "message": message});
                file.extend(format!("null,\"error\":{error}}}\n").bytes());
            }
        }
    }
}

/// Answers the next lines of the batch, and ends the turn.
pub async fn answer_next(work: &Work<'_>) -> std::result::Result<(), Stop> {
    let file = work.file().await?;
    let first = (work.batch.requests_completed + work.batch.requests_failed).unsigned_abs();
    let answers = answer_from(work, &file, first).await?;
    write(work, first, &answers).await
}

async fn answer_from(work: &Work<'_>, file: &FileRow, first: u64) -> std::result::Result<Answers, Stop> {
    let verdict = verdict(work).await?;
    let end = (first + work.context.batches.piece_lines).min(file.rows.unsigned_abs());
    let at_once = at_once(work.batch.endpoint);
    let begun = Instant::now();
    let mut answers = Answers::default();
    while first + answers.lines() < end && !answers.is_full() && begun.elapsed() < LONGEST {
        let from = first + answers.lines();
        let numbers: Vec<u64> = (from..(from + at_once).min(end)).collect();
        work.held(answer_some(work, file, &numbers, &verdict, &mut answers)).await?;
    }
    Ok(answers)
}

/// Lines that are answered at once, so that small ones can share a pass: hidden states are large.
fn at_once(endpoint: BatchEndpoint) -> u64 {
    match endpoint {
        BatchEndpoint::Embeddings => 4,
        BatchEndpoint::Activations => 1,
    }
}

async fn answer_some(
    work: &Work<'_>,
    file: &FileRow,
    numbers: &[u64],
    verdict: &Verdict,
    answers: &mut Answers,
) -> std::result::Result<(), Stop> {
    let records = read_records(work.context, file, numbers).await?;
    let read = |record| read_line(record, work.batch.endpoint).map_err(|fault| ServiceError::internal(fault.message));
    let lines = records.iter().map(|record| read(record)).collect::<Result<Vec<RequestLine>>>()?;
    let begun = Instant::now();
    let found = match verdict {
        Verdict::TooLate => None,
        Verdict::Refuse(reason) => Some(lines.iter().map(|_| Ok(work.endpoints.refuse(reason.clone()))).collect()),
        Verdict::Answer => Some(join_all(lines.iter().map(|line| answer(work, line))).await),
    };
    let batch = work.batch.id.0.simple().to_string();
    let id_of = |at: usize| LineId { batch: batch.clone(), number: numbers[at], custom_id: &lines[at].custom_id };
    match found {
        None => (0..lines.len()).for_each(|at| answers.add_late(&id_of(at))),
        Some(found) => {
            let found = found.into_iter().collect::<Result<Vec<LineAnswer>>>()?;
            found.into_iter().enumerate().for_each(|(at, answer)| answers.add(&id_of(at), answer));
        }
    }
    if matches!(verdict, Verdict::Answer) {
        work.context.rest_after(begun.elapsed()).await;
    }
    Ok(())
}

/// One answer; tried again while the device is busy.
async fn answer(work: &Work<'_>, line: &RequestLine) -> Result<LineAnswer> {
    let body = line.body.to_string().into_bytes();
    let call = LineCall { project: work.batch.project, endpoint: work.batch.endpoint, body };
    let begun = Instant::now();
    loop {
        match work.endpoints.answer(call.clone()).await {
            Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(RETRY).await,
            done => return done,
        }
    }
}

/// What becomes of the next lines: what is not to be carried out is told so, line by line.
async fn verdict(work: &Work<'_>) -> Result<Verdict> {
    if work.turn.is_late {
        return Ok(Verdict::TooLate);
    }
    let mut connection = work.context.connection().await?;
    let refused = refusal(work.context, &mut connection, work.batch.project, work.batch.key).await?;
    Ok(refused.map_or(Verdict::Answer, Verdict::Refuse))
}

async fn write(work: &Work<'_>, first: u64, answers: &Answers) -> std::result::Result<(), Stop> {
    let bytes = [&answers.output[..], &answers.errors[..]].concat().into();
    let blob = work.context.blobs.put_atomic(BlobKind::Batches, bytes).await.map_err(ServiceError::from)?;
    let mut transaction = work.context.begin().await?;
    match record(work, &mut transaction, &blob, answers, first).await {
        // Whether a commit that breaks off was carried out is not known: the sweeper finds the blob that no row names.
        Ok(true) => {
            commit(transaction).await?;
            instruments::batch_requests(answers.lines());
            Ok(())
        }
        refused => {
            drop(transaction);
            work.context.blobs.delete(&blob.path).await.map_err(ServiceError::from)?;
            Err(refused.map_or_else(Stop::Failed, |_| Stop::Gone))
        }
    }
}

async fn record(work: &Work<'_>, transaction: &mut Tx, blob: &BlobRef, answers: &Answers, first: u64) -> Result<bool> {
    let piece = NewPiece {
        batch: work.batch.id,
        attempt: work.turn.attempt,
        first_line: first.cast_signed(),
        blob: &blob.path,
        output_bytes: answers.output.len() as i64,
        error_bytes: answers.errors.len() as i64,
        completed: answers.completed.cast_signed(),
        failed: answers.failed.cast_signed(),
        tokens: answers.tokens(),
        late: answers.late,
    };
    if !batches::add_piece(transaction, &piece).await? {
        return Ok(false);
    }
    for (model, amounts) in &answers.used {
        usage::add(
            transaction,
            &Consumer { project: work.batch.project, key: work.batch.key, model, job: None },
            amounts,
        )
        .await?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::batches::endpoints::Used;

    fn id<'a>() -> LineId<'a> {
        LineId { batch: "7".into(), number: 26, custom_id: "a \"b\"" }
    }

    fn answer(status: u16, body: &str, used: Option<Used>) -> LineAnswer {
        LineAnswer { status, body: body.as_bytes().to_vec(), used }
    }

    fn used(tokens: i64) -> Option<Used> {
        let amounts = Amounts { inference_tokens: tokens, ..Amounts::default() };
        Some(Used { model: "m".into(), amounts })
    }

    #[test]
    fn an_answer_is_written_with_the_bytes_of_its_body() {
        let mut answers = Answers::default();
        answers.add(&id(), answer(200, "{\"x\":0.1}", used(3)));
        answers.add(&id(), answer(404, "{\"error\":{}}", None));
        answers.add(&id(), answer(200, "{}", used(4)));
        assert_eq!((answers.completed, answers.failed, answers.tokens()), (2, 1, 7));
        let text = String::from_utf8(answers.output).expect("UTF-8");
        assert_eq!(
            text.lines().next(),
            Some(
                r#"{"id":"batch_req_71a","custom_id":"a \"b\"","response":{"status_code":200,"request_id":"req_71a","body":{"x":0.1}},"error":null}"#
            )
        );
        let refused: Value = serde_json::from_slice(&answers.errors).expect("JSON");
        assert_eq!((&refused["response"]["status_code"], &refused["error"]), (&json!(404), &Value::Null));
    }

    #[test]
    fn a_line_that_comes_too_late_has_an_error_and_no_response() {
        let mut answers = Answers::default();
        answers.add_late(&id());
        let line: Value = serde_json::from_slice(&answers.errors).expect("JSON");
        assert_eq!((&line["response"], &line["error"]["code"]), (&Value::Null, &json!("batch_expired")));
        assert!(answers.late && answers.output.is_empty() && answers.failed == 1);
    }
}
