# The host in a container. Build: docker build -t blindtune . ; run: see compose.yaml.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3 python3-venv make g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY scripts/setup scripts/setup
RUN python3 -m venv .deps/venv && scripts/setup/libtorch.sh
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo .cargo
COPY .sqlx .sqlx
COPY config config
COPY migrations migrations
COPY native native
COPY src src
RUN cargo build --release --locked \
    && mkdir /out && cp target/release/blindtuned /out/ \
    && cp -rL .deps/libtorch/lib /out/lib \
    && mkdir -p /out/nvidia && cp -r "$(readlink -f .deps/libtorch)/../nvidia/." /out/nvidia/

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates postgresql libgomp1 && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home --home-dir /var/lib/blindtune blindtune
COPY --from=build /out/blindtuned /usr/local/bin/blindtuned
# libtorch looks for its companions beside itself: torch/lib and nvidia under one folder.
COPY --from=build /out/lib /opt/blindtune/torch/lib
COPY --from=build /out/nvidia /opt/blindtune/nvidia
ENV LD_LIBRARY_PATH=/opt/blindtune/torch/lib \
    BLINDTUNE_SERVER__HOST=0.0.0.0 \
    BLINDTUNE_STATE__DIR=/var/lib/blindtune/host \
    BLINDTUNE_LOG__FORMAT=json
USER blindtune
VOLUME /var/lib/blindtune
EXPOSE 8080
HEALTHCHECK CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8080 && printf 'GET /readyz HTTP/1.0\\r\\n\\r\\n' >&3 && head -1 <&3 | grep -q 200"]
ENTRYPOINT ["blindtuned"]
CMD ["serve"]
