//! go-micro's codes, and gRPC's.

/// It worked.
pub const OK: u16 = 200;
/// The request is wrong.
pub const BAD_REQUEST: u16 = 400;
/// No such service, node or endpoint.
pub const NOT_FOUND: u16 = 404;
/// The deadline passed.
pub const TIMEOUT: u16 = 408;
/// Asked too often.
pub const TOO_MANY_REQUESTS: u16 = 429;
/// The caller went away.
pub const CANCELLED: u16 = 499;
/// The server failed.
pub const INTERNAL: u16 = 500;
/// The server cannot serve now.
pub const UNAVAILABLE: u16 = 503;

/// The gRPC status of a code of go-micro's.
///
/// go-micro's own table, and where that says "unknown" (2) the status that gRPC has for it: 405,
/// 429, 499, 502, 504.
///
/// ```
/// use waypost_resilience::code;
///
/// assert_eq!(code::to_grpc(408), 4);
/// assert_eq!(code::from_grpc(4), 408);
/// ```
#[must_use]
pub fn to_grpc(code: u16) -> u8 {
    match code {
        200 => 0,
        400 => 3,
        401 => 16,
        403 => 7,
        404 => 5,
        405 | 501 => 12,
        408 | 504 => 4,
        409 => 6,
        412 => 9,
        429 => 8,
        499 => 1,
        500 => 13,
        502 | 503 => 14,
        _ => 2,
    }
}

/// The code of go-micro's for a gRPC status. What gRPC does not know is 500.
#[must_use]
pub fn from_grpc(status: i32) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 11 => 400,
        4 => 408,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        9 => 412,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_become_statuses_by_the_table() {
        for (code, status) in [
            (200, 0),
            (400, 3),
            (401, 16),
            (403, 7),
            (404, 5),
            (405, 12),
            (408, 4),
            (409, 6),
            (412, 9),
            (429, 8),
            (499, 1),
            (500, 13),
            (501, 12),
            (502, 14),
            (503, 14),
            (504, 4),
            (0, 2),
            (418, 2),
            (599, 2),
            (u16::MAX, 2),
        ] {
            assert_eq!(to_grpc(code), status, "{code}");
        }
    }

    #[test]
    fn statuses_become_codes_by_the_table() {
        let table = [
            200, 499, 500, 400, 408, 404, 409, 403, 429, 412, 409, 400, 501, 500, 503, 500, 401,
        ];
        for (status, code) in (0..).zip(table) {
            assert_eq!(from_grpc(status), code, "{status}");
        }
        for unknown in [-1, 17, i32::MIN, i32::MAX] {
            assert_eq!(from_grpc(unknown), 500, "{unknown}");
        }
    }

    #[test]
    fn a_code_that_has_a_status_comes_back() {
        for code in [
            200, 400, 401, 403, 404, 408, 409, 412, 429, 499, 500, 501, 503,
        ] {
            assert_eq!(from_grpc(i32::from(to_grpc(code))), code);
        }
    }
}
