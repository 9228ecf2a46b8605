ARG A=1
# b is the stage
FROM scratch AS b
# X is a number
ARG X=2
RUN --mount=type=secret,id=foo,required --mount=type=ssh --mount=type=cache,target=/c true
FROM b
